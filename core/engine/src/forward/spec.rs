//! What a forward is, read from ssh's notation: `[bind:]port:host:hostport`, socket paths, and
//! the two-word form of `ssh_config(5)`.

use bssh_protocol::forward::ForwardKind;

/// Where a forward listens and where its connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForwardSpec {
    pub listen: Listen,
    pub target: Target,
}

/// The listening side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    /// `bind`: `None` is the default (loopback unless `GatewayPorts`), `*` or empty is everywhere.
    Tcp { bind: Option<String>, port: u16 },
    /// A Unix socket.
    Unix(String),
}

/// The far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(String),
    /// Each connection says itself (SOCKS).
    Socks,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tcp { host, port } => write!(f, "{host} port {port}"),
            Target::Unix(path) => write!(f, "{path}"),
            Target::Socks => write!(f, "SOCKS"),
        }
    }
}

impl ForwardSpec {
    /// A `-L` or `-R` forward. With only a listening side (`-R port`) the target is SOCKS.
    ///
    /// # Errors
    /// One line naming the specification.
    pub(super) fn parse(spec: &str) -> Result<Self, String> {
        let bad = || format!("bad forwarding specification \"{spec}\": want [bind:]port:host:port");
        let fields = fields(spec).ok_or_else(bad)?;
        let mut fields = fields.iter().map(String::as_str).collect::<Vec<_>>();
        let target = match fields.as_slice() {
            // As `ssh -G` shows a remote forward that speaks SOCKS.
            [.., "socks", "0"] if fields.len() > 2 => {
                fields.truncate(fields.len().saturating_sub(2));
                Target::Socks
            }
            [.., last] if is_path(last) && fields.len() > 1 => {
                let path = (*last).to_owned();
                fields.pop();
                Target::Unix(path)
            }
            [.., host, port] if fields.len() > 2 || fields.first().is_some_and(|f| is_path(f)) => {
                let target =
                    Target::Tcp { host: (*host).to_owned(), port: port_of(port).ok_or_else(bad)? };
                fields.truncate(fields.len().saturating_sub(2));
                target
            }
            _ => Target::Socks,
        };
        let listen = listen_of(&fields).ok_or_else(bad)?;
        if matches!(&target, Target::Tcp { host, port } if host.is_empty() || *port == 0) {
            return Err(bad());
        }
        Ok(ForwardSpec { listen, target })
    }

    /// The same with the path of a socket on our side, if it is relative, made whole.
    pub(super) fn here(mut self, kind: ForwardKind, whole: impl Fn(&str) -> String) -> Self {
        let ours = match (kind, &mut self.listen, &mut self.target) {
            (ForwardKind::Remote, _, Target::Unix(path)) => Some(path),
            (ForwardKind::Local | ForwardKind::Dynamic, Listen::Unix(path), _) => Some(path),
            _ => None,
        };
        if let Some(path) = ours {
            *path = whole(path);
        }
        self
    }

    /// A `-D` forward: only a listening side.
    ///
    /// # Errors
    /// One line naming the specification.
    pub(super) fn parse_dynamic(spec: &str) -> Result<Self, String> {
        let bad = || format!("bad dynamic forwarding specification \"{spec}\": want [bind:]port");
        let fields = fields(spec).ok_or_else(bad)?;
        let fields = fields.iter().map(String::as_str).collect::<Vec<_>>();
        Ok(ForwardSpec { listen: listen_of(&fields).ok_or_else(bad)?, target: Target::Socks })
    }
}

fn listen_of(fields: &[&str]) -> Option<Listen> {
    match fields {
        [path] if is_path(path) => Some(Listen::Unix((*path).to_owned())),
        [port] => Some(Listen::Tcp { bind: None, port: port_of(port)? }),
        [bind, port] => Some(Listen::Tcp { bind: Some((*bind).to_owned()), port: port_of(port)? }),
        _ => None,
    }
}

/// As ssh: whatever has a slash is the path of a socket.
fn is_path(field: &str) -> bool {
    field.contains('/')
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Splits at colons and blanks outside brackets, and takes the brackets off. In the two-word form a
/// path is a word, whatever is in it.
fn fields(spec: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut bracketed = false;
    let between = between(spec);
    for (at, c) in spec.char_indices() {
        let in_path = between.is_some() && !bracketed && is_path(fields.last()?);
        match c {
            ' ' | '\t' | ':' | '[' | ']' if in_path && between != Some(at) => {
                fields.last_mut()?.push(c);
            }
            '[' if !bracketed => bracketed = true,
            ']' if bracketed => bracketed = false,
            ':' | ' ' | '\t' if !bracketed => fields.push(String::new()),
            _ => fields.last_mut()?.push(c),
        }
    }
    (!bracketed && !spec.is_empty()).then_some(fields)
}

/// The blank between the two words. A path may have blanks, too: before a target in brackets it is
/// the last one, behind a path the last one with a path behind it.
fn between(spec: &str) -> Option<usize> {
    let target = match (spec.rfind(" ["), spec.starts_with('/')) {
        (Some(at), _) if spec.get(at..).is_some_and(|t| t.contains("]:") && !t.contains('/')) => {
            Some(at)
        }
        (_, true) => spec.rfind(" /"),
        (_, false) => None,
    };
    target.or_else(|| spec.find([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::{ForwardKind, ForwardSpec, Listen, Target};

    fn tcp(bind: Option<&str>, port: u16) -> Listen {
        Listen::Tcp { bind: bind.map(str::to_owned), port }
    }
    fn to(host: &str, port: u16) -> Target {
        Target::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn specifications() {
        let rows = [
            ("8080:a:80", Some((tcp(None, 8080), to("a", 80)))),
            ("127.0.0.1:8080:a:80", Some((tcp(Some("127.0.0.1"), 8080), to("a", 80)))),
            ("*:8080:a:80", Some((tcp(Some("*"), 8080), to("a", 80)))),
            (
                "[::1]:8080:[2001:db8::1]:443",
                Some((tcp(Some("::1"), 8080), to("2001:db8::1", 443))),
            ),
            ("[127.0.0.1]:8080 [a]:80", Some((tcp(Some("127.0.0.1"), 8080), to("a", 80)))),
            ("0:a:80", Some((tcp(None, 0), to("a", 80)))),
            ("8080:/tmp/r", Some((tcp(None, 8080), Target::Unix("/tmp/r".into())))),
            ("/tmp/s:a:80", Some((Listen::Unix("/tmp/s".into()), to("a", 80)))),
            ("/tmp/s:/tmp/r", Some((Listen::Unix("/tmp/s".into()), Target::Unix("/tmp/r".into())))),
            ("/tmp/s a [::1]:80", Some((Listen::Unix("/tmp/s a".into()), to("::1", 80)))),
            ("/tmp/s a:80", Some((Listen::Unix("/tmp/s".into()), to("a", 80)))),
            ("/tmp/s a /r b", Some((Listen::Unix("/tmp/s a".into()), Target::Unix("/r b".into())))),
            ("8080 /tmp/r b", Some((tcp(None, 8080), Target::Unix("/tmp/r b".into())))),
            // As `ssh -G` shows paths with an IPv6 address in them.
            ("8080 /tmp/r-fe80::1", Some((tcp(None, 8080), Target::Unix("/tmp/r-fe80::1".into())))),
            ("/tmp/[::1] [a]:80", Some((Listen::Unix("/tmp/[::1]".into()), to("a", 80)))),
            ("/tmp/s-::1 [socks]:0", Some((Listen::Unix("/tmp/s-::1".into()), Target::Socks))),
            ("u/s:a:80", Some((Listen::Unix("u/s".into()), to("a", 80)))),
            ("u/s [a]:80", Some((Listen::Unix("u/s".into()), to("a", 80)))),
            ("./s:u/r", Some((Listen::Unix("./s".into()), Target::Unix("u/r".into())))),
            ("8080 u/r", Some((tcp(None, 8080), Target::Unix("u/r".into())))),
            ("1080", Some((tcp(None, 1080), Target::Socks))),
            ("[a]:1080 [socks]:0", Some((tcp(Some("a"), 1080), Target::Socks))),
            ("8080:a:0", None),
            ("8080:a:65536", None),
            ("8080:a:", None),
            ("[::1:8080:a:80", None),
            ("", None),
            ("80x:a:80", None),
        ];
        for (spec, want) in rows {
            let got = ForwardSpec::parse(spec).ok().map(|s| (s.listen, s.target));
            assert_eq!(got, want, "{spec}");
        }
        let here = |spec, kind| {
            let here = ForwardSpec::parse(spec).unwrap().here(kind, |path| format!("/home/{path}"));
            (here.listen, here.target)
        };
        let unix = |listen: &str, target: &str| {
            (Listen::Unix(listen.to_owned()), Target::Unix(target.to_owned()))
        };
        assert_eq!(here("u/s:u/r", ForwardKind::Local), unix("/home/u/s", "u/r"));
        assert_eq!(here("u/s:u/r", ForwardKind::Remote), unix("u/s", "/home/u/r"));
        assert!(ForwardSpec::parse_dynamic("127.0.0.1:1080").is_ok());
        assert!(ForwardSpec::parse_dynamic("1080:a:80").is_err());
    }
}
