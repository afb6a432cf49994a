//! Update masks (AIP-134, AIP-161): which fields of a resource an update changes, and which of them it empties.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value};
use prost_types::FieldMask;

use super::{field_violations::Fields, status};

/// The mask of an update that replaces the whole resource.
const EVERYTHING: &str = "*";
/// The annotation of a field's role.
const FIELD_BEHAVIOR: &str = "google.api.field_behavior";
/// Its values OUTPUT_ONLY and IDENTIFIER.
const SET_BY_SERVER: [i32; 2] = [3, 8];
/// The field with the version to change.
const ETAG: &str = "etag";
/// The most paths of one mask.
const MAX_PATHS: usize = 100;
/// The most emptied fields that are noted one by one.
const MAX_NOTES: usize = 20;

/// The messages of the contract.
static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(scangate_proto::FILE_DESCRIPTOR_SET).ok());

/// A kind of resource that updates change.
#[derive(Debug)]
pub(crate) struct Masked {
    /// The name of the message.
    message: &'static str,
    /// The field of the request that has the resource, for the paths of violations.
    field: &'static str,
    /// The messages that a mask changes field by field: a caller that does not know a field of theirs never drops it.
    by_leaf: &'static [&'static str],
}

/// The masks of UpdatePolicy.
pub(crate) const POLICY: Masked = Masked { message: "scangate.v1.Policy", field: "policy", by_leaf: &[] };

/// The masks of UpdateWaiver.
pub(crate) const WAIVER: Masked =
    Masked { message: "scangate.v1.Waiver", field: "waiver", by_leaf: &["scope", "conditions"] };

/// The fields from the resource down to one field.
type Path = Vec<FieldDescriptor>;

impl Masked {
    /// Returns the current resource with the fields of the request that the mask selects. `None` if the mask is refused.
    pub(crate) fn apply<M: Message + Default>(
        &self,
        fields: &mut Fields,
        mask: Option<&FieldMask>,
        current: &M,
        request: &M,
    ) -> Result<Option<M>, tonic::Status> {
        let broken = || status::internal("a resource does not match its descriptor");
        let (mut merged, request) = self.reflect(current).zip(self.reflect(request)).ok_or_else(broken)?;
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let Some(paths) = self.select(fields, paths, &request) else { return Ok(None) };
        for path in &paths {
            copy(&mut merged, &request, path);
        }
        merged.transcode_to().map(Some).map_err(|_| broken())
    }

    /// Returns a note on each field that was set and no longer is.
    pub(crate) fn emptied<M: Message>(&self, old: &M, new: &M) -> Vec<String> {
        let mut paths = Vec::new();
        if let Some((old, new)) = self.reflect(old).zip(self.reflect(new)) {
            let writable = old.descriptor().fields().filter(|field| !is_output_only(field)).collect();
            emptied(writable, &old, &new, "", &mut paths);
        }
        let more = paths.len().saturating_sub(MAX_NOTES);
        let notes = paths.iter().take(MAX_NOTES).map(|path| format!("{path} was set and no longer is"));
        notes.chain((more > 0).then(|| format!("{more} more fields were set and no longer are"))).collect()
    }

    fn reflect<M: Message>(&self, message: &M) -> Option<DynamicMessage> {
        let descriptor = POOL.as_ref()?.get_message_by_name(self.message)?;
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()
    }

    /// Returns the paths that a mask selects.
    fn select(&self, fields: &mut Fields, mask: &[String], request: &DynamicMessage) -> Option<Vec<Path>> {
        let descriptor = request.descriptor();
        let writable = descriptor.fields().filter(|field| !is_output_only(field));
        match mask {
            [] => Some(writable.flat_map(|field| self.populated(field, request)).collect()),
            [only] if only == EVERYTHING => Some(writable.map(|field| vec![field]).collect()),
            paths => {
                fields.check_length("update_mask.paths", paths.len(), MAX_PATHS);
                let parsed = fields.each("update_mask.paths", paths, |fields, at, path| {
                    fields.check(at, self.parse(&descriptor, path))
                });
                (parsed.len() == paths.len()).then_some(parsed)
            }
        }
    }

    /// Returns the paths below a field that are set in a request.
    fn populated(&self, field: FieldDescriptor, request: &DynamicMessage) -> Vec<Path> {
        if !request.has_field(&field) {
            return Vec::new();
        }
        if self.by_leaf.contains(&field.name()) { set_leaves(&field, request) } else { vec![vec![field]] }
    }

    /// Parses one path of a mask.
    fn parse(&self, resource: &MessageDescriptor, path: &str) -> Result<Path, String> {
        if path == EVERYTHING {
            return Err("must be the only path if it is `*`".to_owned());
        }
        let mut message = Some(resource.clone());
        let mut parsed = Path::new();
        for name in path.split('.') {
            let Some(parent) = &message else {
                let whole = names(&parsed);
                return Err(format!("must end with {whole}, which a mask names as a whole"));
            };
            let field = parent.get_field_by_name(name).filter(|field| !parsed.is_empty() || !is_output_only(field));
            let field = field.ok_or_else(|| {
                let known = parent.fields().filter(|field| !parsed.is_empty() || !is_output_only(field));
                format!("must be `*` or name a field that can be changed: {}", list(&parsed, known))
            })?;
            message = submessage(&field);
            parsed.push(field);
        }
        match message.filter(|_| parsed.first().is_some_and(|field| self.by_leaf.contains(&field.name()))) {
            Some(message) => {
                Err(format!("must name a field of {}: {}", names(&parsed), list(&parsed, message.fields())))
            }
            None => Ok(parsed),
        }
    }

    /// Refuses an update without its resource.
    pub(crate) fn require<'a, M>(&self, fields: &mut Fields, resource: Option<&'a M>) -> Option<&'a M> {
        if resource.is_none() {
            fields.require(self.field, "must be set");
        }
        resource
    }
}

/// True if an update does not change the field of a resource: the contract says that only the server sets it, or it identifies the
/// version to change.
fn is_output_only(field: &FieldDescriptor) -> bool {
    let Some(annotation) = POOL.as_ref().and_then(|pool| pool.get_extension_by_name(FIELD_BEHAVIOR)) else {
        return true;
    };
    let options = field.options();
    let behaviors = options.get_extension(&annotation);
    let is_set_by_server = |behavior: &Value| behavior.as_enum_number().is_some_and(|it| SET_BY_SERVER.contains(&it));
    field.name() == ETAG || behaviors.as_list().is_some_and(|behaviors| behaviors.iter().any(is_set_by_server))
}

/// Returns the message of a field whose parts a mask can name: a single message of this contract.
fn submessage(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = field.kind();
    kind.as_message()
        .filter(|message| !field.is_list() && !field.is_map() && message.package_name() == "scangate.v1")
        .cloned()
}

/// Returns the paths of all set fields below a message, each without parts of its own.
fn set_leaves(field: &FieldDescriptor, parent: &DynamicMessage) -> Vec<Path> {
    let value = parent.get_field(field);
    let below = value.as_message().filter(|_| submessage(field).is_some());
    below.map_or_else(
        || vec![vec![field.clone()]],
        |message| {
            let set = message.descriptor().fields().filter(|field| message.has_field(field)).collect::<Vec<_>>();
            let leaves = set.iter().flat_map(|field| set_leaves(field, message));
            leaves.map(|path| [vec![field.clone()], path].concat()).collect()
        },
    )
}

/// Copies the field of a path, or empties it if the request leaves it out.
fn copy(merged: &mut DynamicMessage, request: &DynamicMessage, path: &[FieldDescriptor]) {
    match path {
        [] => {}
        [field] if request.has_field(field) => merged.set_field(field, request.get_field(field).into_owned()),
        [field] => merged.clear_field(field),
        [field, rest @ ..] => {
            if let (Value::Message(merged), Some(request)) =
                (merged.get_field_mut(field), request.get_field(field).as_message())
            {
                copy(merged, request, rest);
            }
            // Without any part, a message is not set: so the parts of a platform can be emptied together.
            if merged.get_field(field).as_message().is_some_and(|message| message.encoded_len() == 0) {
                merged.clear_field(field);
            }
        }
    }
}

/// Lists the paths of the given fields that `old` has and `new` lacks. Entries of lists are compared by their `id`.
fn emptied(
    fields: Vec<FieldDescriptor>,
    old: &DynamicMessage,
    new: &DynamicMessage,
    prefix: &str,
    paths: &mut Vec<String>,
) {
    for field in fields.into_iter().filter(|field| old.has_field(field)) {
        let path = format!("{prefix}{}", field.name());
        if !new.has_field(&field) {
            paths.push(path);
            continue;
        }
        let (old, new) = (old.get_field(&field), new.get_field(&field));
        match (old.as_ref(), new.as_ref()) {
            (Value::Message(old), Value::Message(new)) if submessage(&field).is_some() => {
                emptied(old.descriptor().fields().collect(), old, new, &format!("{path}."), paths);
            }
            (Value::List(old), Value::List(new)) => emptied_entries(old, new, &path, paths),
            _ => {}
        }
    }
}

fn emptied_entries(old: &[Value], new: &[Value], path: &str, paths: &mut Vec<String>) {
    let id_of = |entry: &DynamicMessage| entry.get_field_by_name("id").and_then(|id| Some(id.as_str()?.to_owned()));
    for old in old.iter().filter_map(Value::as_message) {
        let Some(id) = id_of(old) else { continue };
        let successor = new.iter().filter_map(Value::as_message).find(|new| id_of(new).as_ref() == Some(&id));
        match successor {
            Some(new) => {
                emptied(old.descriptor().fields().collect(), old, new, &format!("{path}.{id}."), paths);
            }
            None => paths.push(format!("{path}.{id}")),
        }
    }
}

/// Lists the paths of fields below a path.
fn list(parents: &[FieldDescriptor], fields: impl Iterator<Item = FieldDescriptor>) -> String {
    let prefix = if parents.is_empty() { String::new() } else { names(parents) + "." };
    fields.map(|field| format!("{prefix}{}", field.name())).collect::<Vec<_>>().join(", ")
}

fn names(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}
