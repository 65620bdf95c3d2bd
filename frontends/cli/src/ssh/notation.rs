//! What is typed in notations of its own, as `ssh_config` has it: destinations, forwards.

use crate::request::{quoted, word};
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

/// Host and port of `-W host:port`; an IPv6 address stands in brackets.
///
/// # Errors
/// One line naming the specification.
pub(super) fn stdio_forward(to: &str) -> Result<(String, u16), String> {
    let bad = || format!("bad stdio forwarding specification \"{to}\": want host:port");
    let (host, port) = to.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let service = SERVICES.iter().find(|(name, _)| *name == port).map(|(_, port)| *port);
    let digits = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let port = service.or_else(|| digits?.parse().ok().filter(|port| *port > 0));
    let host = bare.or(Some(host).filter(|h| !h.contains([':', '[', ']'])));
    let host = host.filter(|h| !h.is_empty());
    host.map(str::to_owned).zip(port).ok_or_else(bad)
}

/// What ports are called, in `ssh_config` too.
const SERVICES: [(&str, u16); 4] = [("ssh", 22), ("http", 80), ("https", 443), ("socks", 1080)];

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
    // As ssh: whatever has a slash is a path.
    let is_path = |field: Option<&str>| field.is_some_and(|field| field.contains('/'));
    let ends = (is_path(spec.split(':').next()), is_path(spec.rsplit(':').next()));
    let split = match (ends, colons.as_slice()) {
        ((true, _), [first, ..]) => Some(*first),
        ((false, true), [.., at]) => Some(*at),
        ((false, false), [.., at, _]) => Some(*at),
        _ => None,
    };
    match split.and_then(|at| spec.split_at_checked(at)) {
        Some((listen, target)) => {
            format!("{} {}", side(listen), side(target.strip_prefix(':').unwrap_or(target)))
        }
        None => side(spec),
    }
}

/// Where a forward leads to, as ssh says it, if the server chooses its port: `0 [a]:80` to `a:80`.
pub(super) fn target_of_open_port(spec: &str) -> Option<String> {
    let (listen, target) = spec.split_once(' ')?;
    let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let shown = bare.map_or_else(|| target.to_owned(), |host| format!("{host}:{port}"));
    (listen == "0" || listen.ends_with("]:0")).then_some(shown)
}

/// A listener or a target; the path of a socket may have blanks.
fn side(text: &str) -> String {
    if text.is_empty() || text.contains([' ', '\t', '"', '\'', '\\']) {
        word(text)
    } else {
        text.to_owned()
    }
}

/// Where a connection ends, in ssh's words.
pub(super) fn place(address: &str) -> String {
    let parts = address.rsplit_once(" port ");
    match parts.filter(|(host, _)| host.parse::<std::net::IpAddr>().is_ok()) {
        Some((host, port)) => format!("[{host}]:{port}"),
        None => "via proxy".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{forward_line, stdio_forward, target_of_open_port};

    #[test]
    fn sockets_may_have_blanks_in_their_paths() {
        for (spec, line) in [
            ("8080:a:80", "8080 a:80"),
            ("[::1]:8080:[::2]:80", "[::1]:8080 [::2]:80"),
            ("/run/a b:/run/c", "\"/run/a b\" /run/c"),
            ("8080:/run/it's", "8080 \"/run/it's\""),
            ("/run/a b", "\"/run/a b\""),
            ("8080:a/b", "8080 a/b"),
            ("a/b:c:80", "a/b c:80"),
            // These are wrong, and stay so.
            (":h:80", "\"\" h:80"),
            ("80::80", "80 :80"),
        ] {
            assert_eq!(forward_line(spec), line);
        }
    }

    #[test]
    fn ports_have_names() {
        for (to, port) in [("h:22", 22), ("h:ssh", 22), ("[::1]:https", 443)] {
            assert_eq!(stdio_forward(to).map(|(_, port)| port), Ok(port), "{to}");
        }
        for to in ["h", "h:", "h:0", "h:70000", "h:smtp", ":22", "::1:22", "[:22", "h]:22"] {
            assert!(stdio_forward(to).is_err(), "{to}");
        }
    }

    #[test]
    fn a_port_the_server_chooses_is_told_with_where_it_leads_to() {
        for (spec, target) in [
            ("0 [127.0.0.1]:1", Some("127.0.0.1:1")),
            ("[*]:0 [::1]:7", Some("::1:7")),
            ("0 /tmp/a b", Some("/tmp/a b")),
            ("0 [socks]:0", Some("socks:0")),
            ("8080 [a]:1", None),
            ("[::1]:80 [a]:0", None),
            ("/tmp/s [a]:1", None),
        ] {
            assert_eq!(target_of_open_port(spec).as_deref(), target, "{spec}");
        }
    }
}
