//! Where the clients of a listener may go.

use super::spec::Target;

/// The rule of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acl {
    /// Anywhere.
    Any,
    /// Only what is listed; an empty list is nowhere.
    Listed(Vec<Allowed>),
}

/// One allowed target; `None` is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    host: Option<String>,
    port: Option<u16>,
}

impl Acl {
    /// Reads `host:port` items, either side may be `*`. None at all: anywhere. `any` and `none`
    /// are `PermitRemoteOpen`'s.
    ///
    /// # Errors
    /// The item that cannot be read.
    pub(crate) fn parse(items: &[String]) -> Result<Acl, String> {
        match items {
            [] => Ok(Acl::Any),
            [one] if one.eq_ignore_ascii_case("any") => Ok(Acl::Any),
            [one] if one.eq_ignore_ascii_case("none") => Ok(Acl::Listed(Vec::new())),
            items => items.iter().map(|i| allowed(i)).collect::<Result<_, _>>().map(Acl::Listed),
        }
    }

    /// May a client go there?
    pub(crate) fn permits(&self, target: &Target) -> bool {
        match (self, target) {
            (Acl::Any, _) => true,
            (Acl::Listed(list), Target::Tcp { host, port }) => list.iter().any(|a| {
                let same =
                    |h: &String| h.eq_ignore_ascii_case(host.strip_suffix('.').unwrap_or(host));
                a.port.is_none_or(|p| p == *port) && a.host.as_ref().is_none_or(same)
            }),
            (Acl::Listed(_), _) => false,
        }
    }
}

fn allowed(item: &str) -> Result<Allowed, String> {
    let bad = || format!("\"{item}\" is no host:port");
    let (host, port) = item.rsplit_once(':').ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = match port {
        "*" => None,
        number => Some(number.parse().map_err(|_| bad())?),
    };
    match host {
        "" => Err(bad()),
        "*" => Ok(Allowed { host: None, port }),
        host => Ok(Allowed { host: Some(host.to_owned()), port }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed() {
        let list = |items: &[&str]| {
            Acl::parse(&items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        let to = |host: &str, port| Target::Tcp { host: host.to_owned(), port };
        for (items, host, port, want) in [
            (&[][..], "x", 1, true),
            (&["any"], "x", 1, true),
            (&["None"], "x", 1, false),
            (&["git.example:22"], "git.example", 22, true),
            (&["git.example:22"], "GIT.example.", 22, true),
            (&["git.example:22"], "git.example", 23, false),
            (&["git.example:22"], "git.example.evil", 22, false),
            (&["git.example:22", "*:443"], "x", 443, true),
            (&["[::1]:*"], "::1", 9, true),
            (&["[::1]:*"], "127.0.0.1", 9, false),
        ] {
            assert_eq!(list(items).permits(&to(host, port)), want, "{items:?} {host}:{port}");
        }
        for bad in ["host", "host:x", ":22", "host:99999"] {
            assert!(Acl::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(!list(&["*:*"]).permits(&Target::Unix("/s".into())));
    }
}
