//! Compiles `proto/` to Rust with protox, so that the build needs no `protoc`.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

const ROOT: &str = "proto";
const PACKAGE: &str = "proto/scangate/v1";
const GOOGLE_APIS: &str = "third_party/googleapis";

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build prints no inputs when it compiles descriptors.
    println!("cargo:rerun-if-changed={PACKAGE}");
    let mut files =
        fs::read_dir(PACKAGE)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    // No message of the contract uses it: reflection serves it, so that grpcurl can show error details.
    files.push(PathBuf::from(GOOGLE_APIS).join("google/rpc/error_details.proto"));

    let mut compiler = protox::Compiler::new([ROOT, GOOGLE_APIS])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("scangate.v1.bin"), compiler.encode_file_descriptor_set())?;
    write_requests(&compiler.descriptor_pool(), &out.join("requests.rs"))?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .client_mod_attribute("scangate.v1", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("scangate.v1", "#[cfg(feature = \"server\")]")
        // Maps are encoded in key order, so that equal requests have equal bytes.
        .btree_map(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Writes a table of fields for each message that a request of the contract can contain, and the methods with their requests.
fn write_requests(pool: &DescriptorPool, file: &Path) -> Result<(), Box<dyn Error>> {
    let (mut variants, mut all, mut paths) = (String::new(), String::new(), String::new());
    let (mut full_names, mut requests, mut streaming) = (String::new(), String::new(), String::new());
    let mut messages = BTreeMap::new();
    let ours = pool.services().filter(|service| service.package_name() == "scangate.v1");
    for method in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let (service, input) = (method.parent_service().full_name().to_owned(), method.input());
        let name = method.name();
        writeln!(variants, "    /// `{service}/{name}`.\n    {name},")?;
        writeln!(all, "        Self::{name},")?;
        writeln!(paths, "            \"/{service}/{name}\" => Self::{name},")?;
        writeln!(full_names, "            Self::{name} => \"{service}/{name}\",")?;
        writeln!(requests, "            Self::{name} => &{},", table(&input))?;
        writeln!(streaming, "            Self::{name} => {},", method.is_server_streaming())?;
        collect(&input, &mut messages);
    }
    let mut source = String::new();
    for (name, message) in &messages {
        writeln!(source, "static {}: Message = Message {{ name: \"{name}\", fields: &[", table(message))?;
        for field in message.fields() {
            let (name, number, kind) = (field.name(), field.number(), kind(&field));
            let is_repeated = field.is_list() || field.is_map();
            writeln!(
                source,
                "    Field {{ name: \"{name}\", number: {number}, kind: {kind}, is_repeated: {is_repeated} }},"
            )?;
        }
        writeln!(source, "] }};")?;
    }
    write!(
        source,
        "/// A method of the contract.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         pub enum Method {{\n{variants}}}\n\n\
         impl Method {{\n    \
             /// All methods.\n    \
             pub const ALL: &[Self] = &[\n{all}    ];\n\n    \
             /// Returns the method with a path, e.g. `/scangate.v1.ScanGateService/EvaluateGate`; `None` if the contract has none.\n    \
             pub fn find(path: &str) -> Option<Self> {{\n        \
                 Some(match path {{\n{paths}            _ => return None,\n        }})\n    }}\n\n    \
             /// Returns the full name, e.g. `scangate.v1.ScanGateService/EvaluateGate`.\n    \
             pub const fn full_name(self) -> &'static str {{\n        match self {{\n{full_names}        }}\n    }}\n\n    \
             /// Returns the request message.\n    \
             pub fn request(self) -> &'static Message {{\n        match self {{\n{requests}        }}\n    }}\n\n    \
             /// True if the response is a stream.\n    \
             pub const fn is_streaming(self) -> bool {{\n        match self {{\n{streaming}        }}\n    }}\n}}\n"
    )?;
    Ok(fs::write(file, source)?)
}

/// Adds a message and all messages that it can contain.
fn collect(message: &MessageDescriptor, messages: &mut BTreeMap<String, MessageDescriptor>) {
    if messages.insert(message.full_name().to_owned(), message.clone()).is_some() {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(child) = field.kind() {
            collect(&child, messages);
        }
    }
}

/// Returns the name of a message's table.
fn table(message: &MessageDescriptor) -> String {
    message.full_name().replace('.', "_").to_uppercase()
}

fn kind(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(message) => format!("Kind::Message(&{})", table(&message)),
        Kind::String => "Kind::String".to_owned(),
        Kind::Bytes => "Kind::Bytes".to_owned(),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => "Kind::Fixed64".to_owned(),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => "Kind::Fixed32".to_owned(),
        Kind::Bool
        | Kind::Enum(_)
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64 => "Kind::Varint".to_owned(),
    }
}
