//! Backend.AI: a compute session knows its containers from the environment.
//!
//! `BACKENDAI_CLUSTER_HOSTS` lists them, `BACKENDAI_CLUSTER_HOST` is this one and
//! `BACKENDAI_CLUSTER_ROLE` its role; they become the cluster `bai_auto`, which is the default.

use std::path::Path;

use crate::clusters::{Cluster, ClusterNode, Config};
use crate::environment::Environment;
use crate::node::NodeOverrides;

/// The cluster's name.
pub(crate) const NAME: &str = "bai_auto";
/// Where the containers' sshd listens.
const PORT: u16 = 2200;
/// The key that Backend.AI gives every container of a session.
const IDENTITY: &str = "/home/config/ssh/id_cluster";

/// Adds the cluster if the environment describes one.
pub(crate) fn add_cluster(env: &Environment, config: &mut Config) {
    let this = env.var("BACKENDAI_CLUSTER_HOST");
    let Some(hosts) = env.var("BACKENDAI_CLUSTER_HOSTS").or(this) else { return };
    let mut origin = String::from("BACKENDAI_CLUSTER_HOSTS");
    if let Some(this) = this {
        let role = env.var("BACKENDAI_CLUSTER_ROLE").map(|r| format!(", {r}")).unwrap_or_default();
        origin = format!("{origin} (this is {this}{role})");
    }
    let nodes = hosts
        .split([',', ' '])
        .filter(|host| !host.is_empty())
        .map(|host| ClusterNode {
            name: host.to_owned(),
            overrides: NodeOverrides::default(),
            origin: origin.clone(),
        })
        .collect();
    let overrides = NodeOverrides {
        port: Some(PORT),
        identity: Some(IDENTITY.into()).filter(|_| Path::new(IDENTITY).exists()),
        ..NodeOverrides::default()
    };
    let cluster = Cluster { nodes, overrides, origin, ..Cluster::default() };
    config.clusters.insert(NAME.to_owned(), cluster);
    config.default_cluster = Some(NAME.to_owned());
}
