//! The errors of the simulated services, by their codes on the wire.

use super::ImageId;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Error {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// A parameter that breaks a constraint of the API's model.
    pub(crate) fn parameter(name: &str, constraint: &str) -> Self {
        Self::bad(
            "InvalidParameterException",
            format!("Invalid parameter at '{name}' failed to satisfy constraint: '{constraint}'"),
        )
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::bad("InvalidParameterException", message)
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::bad("ValidationException", message)
    }

    /// A member of another JSON type than the model's.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::bad("SerializationException", message)
    }

    pub(crate) fn unknown_operation() -> Self {
        Self::bad("UnknownOperationException", "The requested operation is not known to the service.")
    }

    pub(crate) fn repository_not_found(name: &str, account: &str) -> Self {
        Self::bad(
            "RepositoryNotFoundException",
            format!("The repository with name '{name}' does not exist in the registry with id '{account}'"),
        )
    }

    pub(crate) fn image_not_found(image: &ImageId, repository: &str, account: &str) -> Self {
        Self::bad(
            "ImageNotFoundException",
            format!(
                "The image with imageId {image} does not exist within the repository with name '{repository}' in the \
                 registry with id '{account}'"
            ),
        )
    }

    pub(crate) fn scan_not_found(image: &ImageId, repository: &str, account: &str) -> Self {
        Self::bad(
            "ScanNotFoundException",
            format!(
                "Image scan does not exist for the image with '{image}' in the repository with name '{repository}' in \
                 the registry with id '{account}'"
            ),
        )
    }

    /// Inspector has one word for what ECR tells apart.
    pub(crate) fn in_inspectors_words(self) -> Self {
        let code = match self.code.as_str() {
            "InvalidParameterException" | "SerializationException" => "ValidationException".to_owned(),
            _ => self.code,
        };
        Self { code, ..self }
    }

    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::bad(code, message)
    }
}
