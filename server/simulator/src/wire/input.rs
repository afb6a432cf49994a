//! A request's parameters, validated as strictly as by AWS.

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::Error;

/// The members of a request's body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input(Map<String, Value>);

/// The image id of a request: a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageId {
    pub(crate) digest: Option<String>,
    pub(crate) tag: Option<String>,
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_null = |part: &Option<String>| part.clone().unwrap_or_else(|| "null".to_owned());
        write!(f, "{{imageDigest:'{}', imageTag:'{}'}}", or_null(&self.digest), or_null(&self.tag))
    }
}

impl ImageId {
    pub(crate) fn to_json(&self) -> Value {
        let mut members = Map::new();
        if let Some(digest) = &self.digest {
            members.insert("imageDigest".into(), json!(digest));
        }
        if let Some(tag) = &self.tag {
            members.insert("imageTag".into(), json!(tag));
        }
        Value::Object(members)
    }

    /// The most specific part: the digest, else the tag.
    pub(crate) fn reference(&self) -> Option<&str> {
        self.digest.as_deref().or(self.tag.as_deref())
    }
}

impl Input {
    /// Parses a body; an empty one has no members.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) | Err(_) => Err(Error::serialization("the body is not a JSON object")),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong_type(name, "a string"))
    }

    pub(crate) fn required_string(&self, name: &str) -> Result<&str, Error> {
        self.string(name)?.ok_or_else(|| Error::parameter(name, "must not be null"))
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&[Value]>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_array().map(|items| Some(items.as_slice())).ok_or_else(|| wrong_type(name, "a list"))
    }

    /// A list whose length the model limits.
    pub(crate) fn bounded_list(&self, name: &str, length: RangeInclusive<usize>) -> Result<Option<&[Value]>, Error> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        if length.contains(&items.len()) {
            return Ok(Some(items));
        }
        let (min, max) = length.into_inner();
        Err(Error::parameter(name, &format!("Member must have length between {min} and {max}, inclusive")))
    }

    pub(crate) fn strings(&self, name: &str, length: RangeInclusive<usize>) -> Result<Option<Vec<&str>>, Error> {
        let Some(items) = self.bounded_list(name, length)? else { return Ok(None) };
        items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| wrong_type(name, "a list of strings")))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        Self::from_value(value).map(Some).ok_or_else(|| wrong_type(name, "a structure"))
    }

    /// The members of a structure; `None` if the value is not one.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        value.as_object().cloned().map(Self)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong_type(name, "a boolean"))
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }

    /// The maximum number of items on a page.
    pub(crate) fn max_results(&self, range: RangeInclusive<usize>, default: usize) -> Result<usize, Error> {
        let Some(value) = self.get("maxResults") else { return Ok(default) };
        let number = value.as_i64().ok_or_else(|| wrong_type("maxResults", "an integer"))?;
        usize::try_from(number).ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (min, max) = range.clone().into_inner();
            Error::parameter("maxResults", &format!("Member must be between {min} and {max}, inclusive"))
        })
    }

    /// The repository that a request of either service names, if any; for the call log and for faults.
    pub(crate) fn target_repository(&self) -> Option<String> {
        let body = Value::Object(self.0.clone());
        [
            "/repositoryName",
            "/repositoryNames/0",
            "/filterCriteria/ecrRepositoryName/0/value",
            "/filterCriteria/ecrImageRepositoryName/0/value",
        ]
        .iter()
        .find_map(|pointer| body.pointer(pointer)?.as_str().map(str::to_owned))
        .or_else(|| {
            let (arn, _) = body.pointer("/filterCriteria/resourceId/0/value")?.as_str()?.rsplit_once('/')?;
            Some(arn.split_once(":repository/")?.1.to_owned())
        })
    }

    /// The images that a request of either service names: the digest of each, else its tag.
    pub(crate) fn target_images(&self) -> Vec<String> {
        let body = Value::Object(self.0.clone());
        let single = body.get("imageId").into_iter();
        let batch = body.get("imageIds").and_then(Value::as_array).into_iter().flatten();
        let ecr = single.chain(batch).filter_map(|id| id.get("imageDigest").or_else(|| id.get("imageTag"))?.as_str());
        let criterion = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let inspector = [
            criterion("/filterCriteria/ecrImageHash/0/value"),
            criterion("/filterCriteria/resourceId/0/value").and_then(|arn| Some(arn.rsplit_once('/')?.1)),
        ];
        ecr.chain(inspector.into_iter().flatten()).map(str::to_owned).collect()
    }

    pub(crate) fn repository_name(&self) -> Result<&str, Error> {
        let name = self.required_string("repositoryName")?;
        check_repository_name("repositoryName", name)?;
        Ok(name)
    }

    pub(crate) fn image_id(&self) -> Result<ImageId, Error> {
        let id = self.object("imageId")?.ok_or_else(|| Error::parameter("imageId", "must not be null"))?;
        let id = id.as_image_id()?;
        if id.reference().is_none() {
            return Err(Error::invalid_parameter(
                "Invalid request parameters: both imageDigest and imageTag can't be null or empty",
            ));
        }
        Ok(id)
    }

    /// The images of a batch. An id without digest and tag is accepted here and fails on its own later.
    pub(crate) fn image_ids(&self) -> Result<Option<Vec<ImageId>>, Error> {
        let Some(items) = self.bounded_list("imageIds", 1..=100)? else { return Ok(None) };
        items
            .iter()
            .map(|item| {
                let id = Self::from_value(item).ok_or_else(|| wrong_type("imageIds", "a list of structures"))?;
                id.as_image_id()
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn as_image_id(&self) -> Result<ImageId, Error> {
        let tag = self.string("imageTag")?.map(str::to_owned);
        if tag.as_ref().is_some_and(|tag| tag.is_empty() || tag.len() > 300) {
            return Err(Error::parameter("imageTag", "Member must have length between 1 and 300, inclusive"));
        }
        Ok(ImageId { digest: self.string("imageDigest")?.map(str::to_owned), tag })
    }
}

/// Checks the pattern of repository names: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes, 2 to 256 characters.
pub(crate) fn check_repository_name(member: &str, name: &str) -> Result<(), Error> {
    if (2..=256).contains(&name.len()) && name.split('/').all(is_path_component) {
        return Ok(());
    }
    Err(Error::parameter(
        member,
        "must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'",
    ))
}

fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends_well = component.starts_with(alphanumeric) && component.ends_with(alphanumeric);
    ends_well
        && component
            .split(alphanumeric)
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-'))
}

fn wrong_type(name: &str, expected: &str) -> Error {
    Error::serialization(format!("'{name}' is to be {expected}"))
}
