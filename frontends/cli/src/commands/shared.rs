//! `bssh core status|stop|metrics` and `bssh log`: the shared core as a whole.

use super::{failed, print_json, table};
use crate::shared_verbs::CoreVerb;
use crate::{exit, print, say};
use bssh_client::{Core, Start};
use bssh_protocol::handshake::{InfoResult, JournalParams, LinkList, ShutdownParams, StatsResult};
use bssh_protocol::methods::{CoreInfo, CoreShutdown, CoreStats, JournalRead, LinkListAll};
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
        CoreVerb::Metrics => metrics(&core).await,
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
        // As a value it has each name once: the list of links, and not only their number.
        return match serde_json::to_value(&status) {
            Ok(status) => print_json(&status),
            Err(error) => {
                say(&format!("bssh: {error}"));
                exit::GENERAL
            }
        };
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

/// The newest lines of the journal; JSON as it stands, or columns for people.
pub(crate) async fn log(core: &Core, last: u32, json: bool) -> u8 {
    let (mut lines, mut more) = (Vec::new(), true);
    while more {
        let skip = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let params = JournalParams { last: last.saturating_sub(skip), skip };
        match core.call::<JournalRead>(&params).await {
            Ok(answer) => (lines, more) = ([answer.lines, lines].concat(), answer.more),
            Err(error) => return failed(&error),
        }
    }
    if json {
        return print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }
    let rows: Vec<Vec<String>> = lines.iter().filter_map(|line| row_of(line)).collect();
    print(&table(&rows))
}

/// A line of the journal in columns: when, what, and the rest as `name=value`.
fn row_of(line: &str) -> Option<Vec<String>> {
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => bssh_term::bare(text),
        other => other.to_string(),
    };
    let get = |name: &str| all.get(name).map(text).unwrap_or_default();
    let time = all.get("unixMs").and_then(serde_json::Value::as_i64).unwrap_or_default();
    let rest = all.iter().filter(|(name, value)| {
        let told = ["unixMs", "core", "event", "job"].contains(&name.as_str());
        !told && **value != 0 && **value != "" && value.as_array().is_none_or(|all| !all.is_empty())
    });
    let rest: Vec<String> = rest.map(|(name, value)| format!("{name}={}", text(value))).collect();
    Some(vec![clock(time / 1000), get("job"), get("event"), rest.join(" ")])
}

/// Date and time in UTC.
fn clock(unix: i64) -> String {
    let (days, seconds) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    // The civil calendar, counted from the first of March of the year 0.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * march + 2) / 5 + 1, (march + 2) % 12 + 1);
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Prometheus's text format.
async fn metrics(core: &Core) -> u8 {
    let stats = match core.call::<CoreStats>(&Default::default()).await {
        Ok(stats) => stats,
        Err(error) => return failed(&error),
    };
    let rows = [
        ("connections", "gauge", "SSH connections in use", stats.connections),
        ("connections_idle", "gauge", "SSH connections kept for later", stats.idle),
        ("links", "gauge", "frontends attached", stats.links),
        ("runs", "gauge", "runs under way", stats.runs),
        ("forwards", "gauge", "forwards open", stats.forwards),
        ("ptys", "gauge", "terminals open", stats.ptys),
        ("transfers", "gauge", "transfers under way", stats.transfers),
        ("sessions", "gauge", "shell sessions open", stats.sessions),
        ("tasks", "gauge", "tasks alive", stats.tasks),
        ("connections_made_total", "counter", "SSH connections made", stats.connections_made),
        (
            "connections_reused_total",
            "counter",
            "kept connections reused",
            stats.connections_reused,
        ),
        ("runs_total", "counter", "runs that are over", stats.runs_over),
        ("nodes_ok_total", "counter", "nodes that ended well", stats.nodes_ok),
        ("nodes_failed_total", "counter", "nodes that ended badly", stats.nodes_failed),
        ("nodes_unreachable_total", "counter", "nodes not reached", stats.nodes_unreachable),
    ];
    let text = |(name, kind, help, value): &(&str, &str, &str, u64)| {
        format!("# HELP bssh_{name} {help}\n# TYPE bssh_{name} {kind}\nbssh_{name} {value}\n")
    };
    print(&rows.iter().map(text).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_people() {
        assert_eq!(clock(0), "1970-01-01T00:00:00Z");
        assert_eq!(clock(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(clock(1_795_712_461), "2026-11-26T17:01:01Z");
    }
}
