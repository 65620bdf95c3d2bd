//! What is typed in notations of its own, as `ssh_config` has it: destinations, forwards.

use crate::sftp::args::decoded;

/// The lines a destination stands for, its host apart. What is a URL is the core's to say.
pub(super) fn said_by(destination: &str) -> Vec<String> {
    let Some(uri) = destination.strip_prefix("ssh://") else {
        let user = destination.rsplit_once('@').map(|(user, _)| quoted("User", user));
        return user.into_iter().collect();
    };
    let (user, address) = uri.split_once('@').unwrap_or(("", uri));
    let user = decoded(&user.split(';').next().unwrap_or_default().replace('+', " "));
    let user = String::from_utf8(user).ok().filter(|user| !user.is_empty());
    let port = address.rsplit_once(':').map(|(_, port)| port.trim_end_matches('/'));
    let port = port.filter(|port| port.parse::<u16>().is_ok());
    let user = user.map(|user| quoted("User", &user));
    user.into_iter().chain(port.map(|port| quoted("Port", port))).collect()
}

/// A line whose value may have blanks.
pub(super) fn quoted(key: &str, value: &str) -> String {
    format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Host and port of `-W host:port`; an IPv6 address stands in brackets.
///
/// # Errors
/// One line naming the specification.
pub(super) fn stdio_forward(to: &str) -> Result<(String, u16), String> {
    let bad = || format!("bad stdio forwarding specification \"{to}\": want host:port");
    let (host, port) = to.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match (bare.or(Some(host).filter(|h| !h.contains(':'))), port.parse()) {
        (Some(host), Ok(port)) if digits && port > 0 && !host.is_empty() => {
            Ok((host.to_owned(), port))
        }
        _ => Err(bad()),
    }
}

/// `[bind:]port:host:hostport` in the notation of `ssh_config`: listener, blank, target.
///
/// The listener is what stands before the second-last unbracketed colon, or before the last one
/// when either side is a socket path.
pub(super) fn forward_line(spec: &str) -> String {
    let mut depth = 0_u32;
    let colons: Vec<usize> = spec
        .char_indices()
        .filter_map(|(at, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (c == ':' && depth == 0).then_some(at)
        })
        .collect();
    let split = match (spec.starts_with('/'), spec.rsplit(':').next(), colons.as_slice()) {
        (true, _, [first, ..]) => Some(*first),
        (false, Some(last), [.., at]) if last.starts_with('/') => Some(*at),
        (false, _, [.., at, _]) => Some(*at),
        _ => None,
    };
    match split.and_then(|at| spec.split_at_checked(at)) {
        Some((listen, target)) => format!("{listen} {}", target.trim_start_matches(':')),
        None => spec.to_owned(),
    }
}
