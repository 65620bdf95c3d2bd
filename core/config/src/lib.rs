//! What people wrote, turned into data: node sets, clusters, `ssh_config`, sources of targets.
//!
//! Pure: reads files it is pointed at, never the network, and knows neither JSON nor jobs.
//! [`Inventory`] is the door: it reads the configuration and turns target expressions into nodes.

pub mod clusters;
pub mod environment;
pub mod error;
pub mod inventory;
pub mod memory;
pub mod node;
pub mod nodeset;
mod resolver;
mod sources;
pub mod ssh_config;
mod yaml;

pub use environment::Environment;
pub use error::Error;
pub use inventory::{Group, Inventory};
pub use memory::Memory;
pub use node::{Destination, Node, NodeOverrides};
pub use sources::topology::Topology;
