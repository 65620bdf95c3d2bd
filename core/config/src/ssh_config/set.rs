//! Setters: a checked value into the field of [`HostOptions`] it is for.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::destination::jump_hosts;
use super::options::{AddKeys, AddressFamily, Ask, Forward, HostOptions, StrictHostKeys};
use super::patterns::matches;

fn first(values: &[String]) -> &str {
    values.first().map_or("", String::as_str)
}

fn unless_none(values: &[String]) -> Option<&str> {
    Some(first(values)).filter(|value| !value.eq_ignore_ascii_case("none"))
}

pub(super) fn text(values: &[String]) -> String {
    first(values).to_owned()
}

pub(super) fn some(values: &[String]) -> Option<String> {
    Some(text(values))
}

pub(super) fn yes(values: &[String]) -> bool {
    first(values) == "yes"
}

pub(super) fn on(values: &[String]) -> bool {
    first(values) != "false"
}

/// Values were checked when they were read.
pub(super) fn number<T: FromStr + Default>(values: &[String]) -> T {
    first(values).parse().unwrap_or_default()
}

pub(super) fn time(values: &[String]) -> Duration {
    Duration::from_secs(number(values))
}

pub(super) fn path(values: &[String]) -> Option<PathBuf> {
    unless_none(values).map(PathBuf::from)
}

pub(super) fn command(values: &[String]) -> Option<String> {
    unless_none(values).map(str::to_owned)
}

pub(super) fn files(values: &[String]) -> Vec<PathBuf> {
    values.iter().filter(|file| !file.eq_ignore_ascii_case("none")).map(PathBuf::from).collect()
}

pub(super) fn ask(values: &[String]) -> Ask {
    match first(values) {
        "false" => Ask::No,
        "ask" => Ask::Ask,
        value if value.starts_with("confirm") => Ask::Ask,
        _ => Ask::Yes,
    }
}

/// `QUIET` in the field: ssh prints that level by its other name.
pub(super) fn log_level(options: &mut HostOptions, values: &[String]) {
    options.log_level = if first(values) == "SILENT" { "QUIET".into() } else { text(values) };
}

pub(super) fn user(options: &mut HostOptions, values: &[String]) {
    options.user = text(values);
}

pub(super) fn hostname(options: &mut HostOptions, values: &[String]) {
    options.hostname = text(values);
}

pub(super) fn port(options: &mut HostOptions, values: &[String]) {
    options.port = number(values);
}

pub(super) fn host_key_alias(options: &mut HostOptions, values: &[String]) {
    options.host_key_alias = Some(text(values).to_ascii_lowercase());
}

pub(super) fn address_family(options: &mut HostOptions, values: &[String]) {
    options.address_family = match first(values) {
        "inet" => AddressFamily::Inet,
        "inet6" => AddressFamily::Inet6,
        _ => AddressFamily::Any,
    };
}

pub(super) fn strict(options: &mut HostOptions, values: &[String]) {
    options.strict_host_key_checking = match first(values) {
        "true" => StrictHostKeys::Yes,
        "false" => StrictHostKeys::No,
        "accept-new" => StrictHostKeys::AcceptNew,
        _ => StrictHostKeys::Ask,
    };
}

pub(super) fn preferred(options: &mut HostOptions, values: &[String]) {
    options.preferred_authentications = first(values).split(',').map(str::to_owned).collect();
}

pub(super) fn forward(list: &mut Vec<Forward>, values: &[String]) {
    let forward = Forward { spec: text(values) };
    if !list.contains(&forward) {
        list.push(forward);
    }
}

/// `none` is no file, but keeps the defaults away.
pub(super) fn identity(options: &mut HostOptions, values: &[String]) {
    if !options.identity_files_explicit {
        options.identity_files_explicit = true;
        options.identity_files.clear();
    }
    for file in files(values) {
        if !options.identity_files.contains(&file) {
            options.identity_files.push(file);
        }
    }
}

pub(super) fn send_env(options: &mut HostOptions, values: &[String]) {
    for value in values {
        match value.strip_prefix('-') {
            Some(pattern) => options.send_env.retain(|name| !matches(name, pattern)),
            None => options.send_env.push(value.clone()),
        }
    }
}

pub(super) fn set_env(options: &mut HostOptions, values: &[String]) {
    let pairs = values.iter().filter_map(|value| value.split_once('='));
    options.set_env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
}

pub(super) fn permit_open(options: &mut HostOptions, values: &[String]) {
    let any = first(values).eq_ignore_ascii_case("any");
    options.permit_remote_open = if any { Vec::new() } else { values.to_vec() };
}

pub(super) fn forward_agent(options: &mut HostOptions, values: &[String]) {
    options.forward_agent_on = first(values) != "no";
    options.forward_agent = match first(values) {
        "yes" | "no" => None,
        path => Some(PathBuf::from(path)),
    };
}

pub(super) fn add_keys(options: &mut HostOptions, values: &[String]) {
    let text = first(values);
    let (word, time) = text.split_once(' ').unwrap_or((text, ""));
    let seconds = [word, time].iter().find_map(|t| t.parse().ok());
    options.add_keys_to_agent = match word {
        "false" => None,
        _ => Some(AddKeys {
            ask: word == "ask",
            confirm: word == "confirm",
            lifetime: seconds.map(Duration::from_secs),
        }),
    };
}

pub(super) fn connect_timeout(options: &mut HostOptions, values: &[String]) {
    options.connect_timeout = Some(time(values)).filter(|time| !time.is_zero());
}

pub(super) fn control_persist(options: &mut HostOptions, values: &[String]) {
    options.control_persist = match first(values) {
        "no" => None,
        "yes" => Some(Duration::ZERO),
        _ => Some(time(values)),
    };
}

pub(super) fn escape_char(options: &mut HostOptions, values: &[String]) {
    options.escape_char = unless_none(values).map(|_| number(values));
}

pub(super) fn rekey_limit(options: &mut HostOptions, values: &[String]) {
    let bytes = Some(number(values)).filter(|bytes| *bytes != 0);
    let interval = Some(time(values.get(1..).unwrap_or_default())).filter(|t| !t.is_zero());
    options.rekey_limit = (bytes, interval);
}

pub(super) fn proxy_jump(options: &mut HostOptions, values: &[String]) {
    options.proxy_jump = match unless_none(values) {
        Some(text) => jump_hosts(text).unwrap_or_default(),
        None => Vec::new(),
    };
}
