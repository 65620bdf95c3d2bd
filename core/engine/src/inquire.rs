//! Questions that touch no network: node sets, groups, effective settings, problems in files.

use crate::engine::Engine;
use crate::plan::{Planner, config_error, targets_error};
use bssh_config::clusters::InteractiveMode;
use bssh_config::{Error, Inventory, Node, NodeOverrides, nodeset, ssh_config};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Settings, Targets};
use bssh_protocol::forward::{Configured, ConfiguredParams};
use bssh_protocol::node::{
    CheckParams, CheckResult, EffectiveValue, ExplainParams, Explained, FoldParams, Folded, Group,
    GroupList, GroupListParams, NodeNames, PersistParams, PersistResult, Problem, ResolveParams,
};
use bssh_protocol::session::Interactive;

impl Engine {
    /// `group/resolve`.
    ///
    /// # Errors
    /// A bad file or expression.
    pub fn resolve(&self, params: &ResolveParams) -> Result<NodeNames, CallError> {
        let planner = Planner::new(self.env(), &params.settings, true)?;
        let inventory = inventory(&planner)?;
        let names =
            inventory.expand(&params.expr, &params.exclude).map_err(|e| targets_error(&e))?;
        let nodes = names.iter().map(str::to_owned).collect();
        Ok(NodeNames { nodes, warnings: planner.warnings() })
    }

    /// `group/fold`.
    pub fn fold(&self, params: &FoldParams) -> Folded {
        let fold = |set: &Vec<String>| nodeset::fold(set.iter().map(String::as_str));
        Folded { exprs: params.sets.iter().map(fold).collect() }
    }

    /// `group/list`.
    ///
    /// # Errors
    /// A bad file.
    pub fn groups(&self, params: &GroupListParams) -> Result<GroupList, CallError> {
        let planner = Planner::new(self.env(), &params.settings, true)?;
        let group = |g: bssh_config::Group| Group {
            name: g.name,
            source: g.source,
            count: u32::try_from(g.nodes.len()).unwrap_or(u32::MAX),
            nodes: nodeset::fold(g.nodes.iter().map(String::as_str)),
            origin: g.origin,
        };
        let groups = inventory(&planner)?.groups().into_iter().map(group).collect();
        Ok(GroupList { groups, warnings: planner.warnings() })
    }

    /// `node/resolve`.
    ///
    /// # Errors
    /// A bad file, or a name that is not one node.
    pub async fn explain(&self, params: &ExplainParams) -> Result<Explained, CallError> {
        let planner = Planner::new(self.env(), &params.settings, !params.literal)?;
        let node = match planner.inventory() {
            None => Node {
                name: params.node.clone(),
                destination: ssh_config::destination(&params.node)
                    .map_err(|e| targets_error(&e))?,
                overrides: NodeOverrides::default(),
            },
            Some(inventory) => one(inventory, &params.node)?,
        };
        let command = params.command.as_deref();
        for path in planner.paths() {
            tracing::info!("Reading configuration data {}", path.display());
        }
        let options = planner.explain(&node, command).await.map_err(|e| config_error(&e))?;
        for block in &options.applied {
            tracing::info!("{block}");
        }
        let set = |keyword: &str| {
            options.origins.iter().find(|o| o.keyword.eq_ignore_ascii_case(keyword))
        };
        let dump = ssh_config::dump(&options);
        let wanted = |keyword: &str| {
            params.keywords.as_ref().is_none_or(|wanted| wanted.iter().any(|w| w == keyword))
        };
        let lines = dump.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        // Left out by `ssh -G`; whoever asks for it by name wants to know.
        let none = set("controlpath").is_some_and(|o| o.value.eq_ignore_ascii_case("none"));
        let unsaid = (params.keywords.is_some() && none).then_some(("controlpath", "none"));
        let values =
            lines.chain(unsaid).filter(|(keyword, _)| wanted(keyword)).map(|(keyword, value)| {
                let origin = set(keyword);
                EffectiveValue {
                    keyword: keyword.to_owned(),
                    value: value.to_owned(),
                    origin: origin.map_or("default", |o| &o.origin).to_owned(),
                    status: origin.map_or("applied", |o| o.status).to_owned(),
                }
            });
        let missing = options.missing.iter().map(ToString::to_string);
        Ok(Explained {
            local_command: options.local_command.clone().filter(|_| options.permit_local_command),
            node: node.name.clone(),
            host: options.hostname.clone(),
            port: options.port,
            user: options.user.clone(),
            hops: planner.hops(&node).await,
            values: values.collect(),
            warnings: planner.warnings().into_iter().chain(missing).collect(),
        })
    }

    /// `forward/configured`.
    ///
    /// # Errors
    /// A bad file.
    pub fn forward_configured(&self, params: &ConfiguredParams) -> Result<Configured, CallError> {
        let planner = Planner::new(self.env(), &params.settings, true)?;
        let forwarding = &inventory(&planner)?.config().forwarding;
        Ok(Configured {
            local: forwarding.local.clone(),
            remote: forwarding.remote.clone(),
            dynamic: forwarding.dynamic.clone(),
        })
    }

    /// `session/configured`.
    ///
    /// # Errors
    /// A bad file.
    pub fn session_configured(&self, targets: &Targets) -> Result<Interactive, CallError> {
        let planner = Planner::new(self.env(), &targets.settings, true)?;
        let found = inventory(&planner)?.interactive(&targets.nodes);
        let mode = |mode| match mode {
            InteractiveMode::SingleNode => "singleNode".to_owned(),
            InteractiveMode::Multiplex => "multiplex".to_owned(),
        };
        Ok(Interactive {
            default_mode: found.default_mode.map(mode),
            prompt_format: found.prompt_format,
            history_file: found.history_file.map(|file| file.display().to_string()),
            node_switch_prefix: found.node_switch_prefix,
            show_timestamps: found.show_timestamps,
            colors: found.colors,
        })
    }

    /// `config/persist`.
    ///
    /// # Errors
    /// A bad file.
    pub fn config_persist(&self, params: &PersistParams) -> Result<PersistResult, CallError> {
        let config = params.settings.config.as_ref().map(std::path::PathBuf::from);
        let inventory =
            Inventory::load(self.env(), config.as_deref()).map_err(|e| config_error(&e))?;
        Ok(PersistResult { persist_ms: inventory.config().core.persist.map(crate::run::millis) })
    }

    /// `config/check`.
    pub fn check(&self, params: &CheckParams) -> CheckResult {
        let Settings { config, .. } = &params.settings;
        let config = config.as_ref().map(std::path::PathBuf::from);
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        match Inventory::load(self.env(), config.as_deref()) {
            Err(errors) => problems.extend(errors.iter().map(|e| problem(e, "error"))),
            Ok(inventory) => {
                files.extend(inventory.config().files.iter().map(|f| f.display().to_string()));
                problems.extend(inventory.warnings().iter().map(|e| problem(e, "warning")));
                let gates = self.gate_problems(&inventory);
                let wrong = inventory.check().into_iter().chain(gates);
                problems.extend(wrong.map(|e| problem(&e, "error")));
            }
        }
        match Planner::new(self.env(), &params.settings, false) {
            Ok(planner) => {
                let warning = |message| Problem {
                    severity: "warning".to_owned(),
                    message,
                    ..Problem::default()
                };
                problems.extend(planner.warnings().into_iter().map(warning));
            }
            Err(error) => problems.extend(error.message.lines().map(|line| Problem {
                severity: "error".to_owned(),
                message: line.to_owned(),
                ..Problem::default()
            })),
        }
        CheckResult { files, problems }
    }
}

fn inventory(planner: &Planner) -> Result<&Inventory, CallError> {
    planner.inventory().ok_or_else(|| CallError::new(Kind::Internal, "no configuration was read"))
}

/// One node by name; a name that is no expression is taken as it stands.
fn one(inventory: &Inventory, name: &str) -> Result<Node, CallError> {
    let mut nodes = inventory.resolve(name, &[]).map_err(|e| targets_error(&e))?;
    match (nodes.pop(), nodes.len()) {
        (Some(node), 0) => Ok(node),
        _ => {
            let text = format!("\"{name}\" is more than one node");
            Err(CallError::new(Kind::InvalidParams, text).at("params.node"))
        }
    }
}

fn problem(error: &Error, severity: &str) -> Problem {
    Problem {
        file: error.file.as_ref().map(|f| f.display().to_string()).unwrap_or_default(),
        line: error.line,
        column: error.column,
        severity: severity.to_owned(),
        message: error.message.clone(),
        hint: error.hint.clone(),
    }
}
