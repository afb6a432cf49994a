//! The errors of the simulated services, with their codes on the wire.

use super::ImageId;

/// An error response.
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

    /// An error with HTTP status 400.
    pub(crate) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// A parameter that violates a constraint of the API's model.
    pub(crate) fn parameter(name: &str, constraint: &str) -> Self {
        Self::bad_request(
            "InvalidParameterException",
            format!("Invalid parameter at '{name}' failed to satisfy constraint: '{constraint}'"),
        )
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::bad_request("InvalidParameterException", message)
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::bad_request("ValidationException", message)
    }

    /// A member whose JSON type differs from the model's.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::bad_request("SerializationException", message)
    }

    pub(crate) fn unknown_operation() -> Self {
        Self::bad_request("UnknownOperationException", "The requested operation is not known to the service.")
    }

    pub(crate) fn repository_not_found(name: &str, account: &str) -> Self {
        Self::bad_request(
            "RepositoryNotFoundException",
            format!("The repository with name '{name}' does not exist in the registry with id '{account}'"),
        )
    }

    pub(crate) fn image_not_found(image: &ImageId, repository: &str, account: &str) -> Self {
        Self::bad_request(
            "ImageNotFoundException",
            format!(
                "The image with imageId {image} does not exist within the repository with name '{repository}' in the \
                 registry with id '{account}'"
            ),
        )
    }

    pub(crate) fn scan_not_found(image: &ImageId, repository: &str, account: &str) -> Self {
        Self::bad_request(
            "ScanNotFoundException",
            format!(
                "Image scan does not exist for the image with '{image}' in the repository with name '{repository}' in \
                 the registry with id '{account}'"
            ),
        )
    }

    /// Converts the code into Inspector's, which has one code for invalid parameters and for wrong types.
    pub(crate) fn into_inspector_error(self) -> Self {
        let code = match self.code.as_str() {
            "InvalidParameterException" | "SerializationException" => "ValidationException".to_owned(),
            _ => self.code,
        };
        Self { code, ..self }
    }
}
