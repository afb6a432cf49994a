//! A simulated Amazon ECR: a real HTTP server on loopback that speaks AWS JSON 1.1, as the AWS SDKs and the aws CLI do.
//!
//! It also serves the three operations of Amazon Inspector that return further facts about ECR images.
//!
//! It is for tests and demonstrations. It checks no signature, binds to loopback only, and marks every response with
//! the header `x-scangate-simulator: simulated`. Its images are made up; its findings are made up or recorded.
//!
//! ```
//! use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, Simulator, World, generate};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut world = World::new();
//! let image = world.push(ImageSpec::single("team/app", "2.3.0").scan(ScanScript::complete(generate::basic(40, 7))));
//! assert!(image.digest.starts_with("sha256:"));
//!
//! let simulator = Simulator::start_local(world).await?;
//! simulator.faults().script(Fault::Throttle429.on("DescribeImageScanFindings").once());
//! // Point an SDK at simulator.endpoint(), then:
//! assert_eq!(simulator.calls().count("DescribeImageScanFindings"), 0);
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod calls;
mod clock;
mod faults;
mod findings;
pub mod generate;
mod inspector;
mod operations;
pub mod seed;
mod server;
mod simulator;
mod wire;
mod world;

pub use calls::{Call, Calls};
pub use clock::Clock;
pub use faults::{Fault, Faults, Rule};
pub use findings::{BasicFinding, EnhancedFinding, Findings};
pub use simulator::{Simulator, StartError};
pub use world::{
    ACCOUNT, Child, Coverage, EffectiveScanning, Image, ImageSpec, ImageStatus, NoSuchImage, Pushed, PushedChild,
    REGION, Repository, RescanDurations, ScanFrequency, ScanRule, ScanScript, ScanType, ScanningConfig, TagMutability,
    World, filter_matches,
};
