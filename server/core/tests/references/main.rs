//! Names of images, registries and platforms: every form of ECR, and lookalikes.

mod fixtures;
mod images;
mod names;
mod properties;
mod registries;
