//! `bssh core status|stop`: the shared core as a whole.

use super::{failed, print_json, table};
use crate::shared_verbs::CoreVerb;
use crate::{exit, print, say};
use bssh_client::{Core, Start};
use bssh_protocol::handshake::{InfoResult, LinkList, ShutdownParams, StatsResult};
use bssh_protocol::methods::{CoreInfo, CoreShutdown, CoreStats, LinkListAll};
use serde::Serialize;
use std::time::Duration;

/// Beyond its grace, for the core to tidy up and go.
const LEAVE: Duration = Duration::from_secs(20);

/// The shared core, or the status after saying that there is none.
pub(crate) async fn running(start: Start) -> Result<Core, u8> {
    match Core::running(start).await {
        Ok(Some(core)) => Ok(core),
        Ok(None) => {
            say(
                "bssh: no shared core runs\nhint: bssh core serve starts one, and so does --persist",
            );
            Err(exit::GENERAL)
        }
        Err(error) => {
            say(&format!("bssh: {error}"));
            Err(exit::GENERAL)
        }
    }
}

pub(crate) async fn core(verb: &CoreVerb, json: bool, start: Start) -> u8 {
    let core = match running(start).await {
        Ok(core) => core,
        Err(status) => return status,
    };
    match verb {
        CoreVerb::Status => status(&core, json).await,
        CoreVerb::Stop { force, grace } => stop(core, *force, *grace).await,
    }
}

#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    info: InfoResult,
    #[serde(flatten)]
    stats: StatsResult,
    #[serde(flatten)]
    links: LinkList,
}

async fn status(core: &Core, json: bool) -> u8 {
    let empty = Default::default;
    let asked = async {
        Ok(Status {
            info: core.call::<CoreInfo>(&empty()).await?,
            stats: core.call::<CoreStats>(&empty()).await?,
            links: core.call::<LinkListAll>(&empty()).await?,
        })
    };
    let status = match asked.await {
        Ok(status) => status,
        Err(error) => return failed(&error),
    };
    if json {
        return print_json(&status);
    }
    let Status { info, stats, links } = status;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("pid", info.pid.to_string()),
        row("version", info.version),
        row("socket", info.socket.unwrap_or_default()),
        row("uptime", seconds(info.uptime_ms)),
        row("idle end", info.idle_ms.map_or_else(|| "never".to_owned(), seconds)),
        row("connections", format!("{} in use, {} idle", stats.connections, stats.idle)),
        row("runs", stats.runs.to_string()),
    ];
    for link in links.links.iter().filter(|link| !link.own) {
        let client = &link.client;
        let text = format!(
            "{} {}, {}, for {}",
            client.name,
            client.version,
            client.kind,
            seconds(link.since_ms)
        );
        rows.push(row("frontend", text));
    }
    print(&table(&rows))
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms / 1000)
}

async fn stop(core: Core, force: bool, grace: Duration) -> u8 {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let params = ShutdownParams { grace_ms: Some(grace_ms), force };
    if let Err(error) = core.call::<CoreShutdown>(&params).await {
        return failed(&error);
    }
    let pid = core.hello().core.pid;
    core.close().await;
    match gone(pid, grace + LEAVE).await {
        true => exit::OK,
        false => {
            say(&format!("bssh: the shared core (pid {pid}) has not ended yet"));
            exit::GENERAL
        }
    }
}

/// Between two looks at a process that ends.
const LOOK: Duration = Duration::from_millis(10);

async fn gone(pid: u32, limit: Duration) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return true };
    let over = async {
        while rustix::process::test_kill_process(pid).is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(limit, over).await.is_ok()
}
