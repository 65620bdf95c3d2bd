//! What `ssh -G` prints: every keyword of the table, effective values, defaults filled in.

use super::finish::IDENTITIES;
use super::forwards::Spec;
use super::keywords::{KEYWORDS, Keyword};
use super::options::{Ask, Forward, HostOptions};
use super::values::Kind;

/// Not printed when set to `none`.
const NONE_IS_NOTHING: [&str; 8] = [
    "localcommand",
    "remotecommand",
    "proxycommand",
    "controlpath",
    "revokedhostkeys",
    "pkcs11provider",
    "securitykeyprovider",
    "knownhostscommand",
];

/// What `ssh -G` prints for these options, a line for each value.
pub fn dump(options: &HostOptions) -> String {
    let mut text = format!("host {}\n", options.original);
    for keyword in &KEYWORDS {
        for value in lines(options, keyword) {
            let name = match keyword.name {
                "canonicalizepermittedcnames" => "canonicalizePermittedcnames",
                name => name,
            };
            text.push_str(name);
            text.push(' ');
            text.push_str(&value);
            text.push('\n');
        }
    }
    text
}

/// Keywords that mean the same on another machine: how to log in there, not with which files and
/// which other hosts.
const CARRIED: [&str; 24] = [
    "addressfamily",
    "casignaturealgorithms",
    "ciphers",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "hostkeyalgorithms",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "loglevel",
    "macs",
    "numberofpasswordprompts",
    "passwordauthentication",
    "preferredauthentications",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "rekeylimit",
    "requiredrsasize",
    "serveralivecountmax",
    "serveraliveinterval",
    "tcpkeepalive",
    "hostname",
    "port",
    "user",
];

/// What `BatchMode` means to another machine: no password. About host keys it asks us, and we decide
/// as our own `BatchMode` has it.
const UNASKED: [&str; 2] = ["passwordauthentication=no", "kbdinteractiveauthentication=no"];

/// The lines (`keyword=value`) that let another machine log in at this host as we would: what was
/// set, and where and as whom.
pub fn carried(options: &HostOptions) -> Vec<String> {
    let always = ["hostname", "port", "user"];
    let is_set = |name: &str| options.origins.iter().any(|origin| origin.keyword == name);
    let wanted = KEYWORDS.iter().filter(|keyword| CARRIED.contains(&keyword.name));
    let wanted = wanted.filter(|keyword| always.contains(&keyword.name) || is_set(keyword.name));
    let line = |keyword: &Keyword| {
        let value = lines(options, keyword).into_iter().next();
        value.map(|value| format!("{}={value}", keyword.name))
    };
    let unasked = UNASKED.iter().filter(|_| options.batch_mode).map(|line| (*line).to_owned());
    unasked.chain(wanted.filter_map(line)).collect()
}

fn lines(options: &HostOptions, keyword: &Keyword) -> Vec<String> {
    let one = |value: &str| vec![value.to_owned()];
    match keyword.name {
        "user" => return one(&options.user),
        "hostname" => return one(&options.hostname),
        "port" => return vec![options.port.to_string()],
        "sendenv" => return options.send_env.clone(),
        "updatehostkeys" => {
            return one(match options.update_host_keys {
                Ask::Yes => "true",
                Ask::No => "false",
                Ask::Ask => "ask",
            });
        }
        "userknownhostsfile" => {
            let files = &options.user_known_hosts_files;
            let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
            return one(if files.is_empty() { "none".into() } else { files.join(" ") }.as_str());
        }
        "hostkeyalias" => return options.host_key_alias.iter().cloned().collect(),
        "dynamicforward" => return forwards(&options.dynamic_forwards, true, false),
        "localforward" => return forwards(&options.local_forwards, false, false),
        "remoteforward" => return forwards(&options.remote_forwards, false, true),
        "serveraliveinterval" => {
            return vec![options.server_alive_interval.as_secs().to_string()];
        }
        "proxyusefdpass" if !options.proxy_jump.is_empty() => return one("no"),
        "tunnel" if options.clear_all_forwardings => return one("false"),
        _ => {}
    }
    let set = options.origins.iter().filter(|origin| origin.keyword == keyword.name);
    let mut values: Vec<String> = set.map(|origin| origin.value.to_string()).collect();
    if values.is_empty() {
        values = match (&keyword.kind, keyword.name) {
            (Kind::Algorithms(family), _) => vec![family.default_text()],
            (_, "identityfile") => IDENTITIES.map(|file| format!("~/{file}")).to_vec(),
            _ if keyword.default.is_empty() => Vec::new(),
            _ => one(keyword.default),
        };
    }
    if NONE_IS_NOTHING.contains(&keyword.name) {
        values.retain(|value| !value.eq_ignore_ascii_case("none"));
    }
    values
}

/// From the fields: paths are expanded there.
fn forwards(forwards: &[Forward], dynamic: bool, remote: bool) -> Vec<String> {
    let parse = |text: &str| {
        Spec::parse(text, dynamic, remote)
            .or_else(|| remote.then(|| Spec::parse(text, true, true)).flatten())
    };
    forwards.iter().filter_map(|f| parse(&f.spec)).map(|spec| spec.shown(remote)).collect()
}
