//! Forwarding specifications of `-L -R -D` and their keywords: checked, brought into one notation.

use super::destination::port_number;

/// One end: a socket path, or a port with the host that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Path(String),
    Port(Option<String>, u16),
}

/// A specification, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec {
    listen: End,
    /// `None`: SOCKS.
    connect: Option<End>,
}

impl Spec {
    /// Reads `[bind:]port:host:hostport` and its variants with socket paths; with `dynamic`,
    /// `[bind:]port`. Port 0 is for `remote` only.
    pub(super) fn parse(text: &str, dynamic: bool, remote: bool) -> Option<Spec> {
        let fields = fields(text.trim_start())?;
        let spec = match (fields.as_slice(), dynamic) {
            ([a], true) => Spec { listen: end(None, a)?, connect: None },
            ([host, port], true) => Spec { listen: end(Some(host), port)?, connect: None },
            ([a, b], false) if b.is_path => {
                Spec { listen: end(None, a)?, connect: Some(end(None, b)?) }
            }
            ([a, host, port], false) if a.is_path || !port.is_path => {
                Spec { listen: end(None, a)?, connect: Some(end(Some(host), port)?) }
            }
            ([host, port, path], false) => {
                Spec { listen: end(Some(host), port)?, connect: Some(end(None, path)?) }
            }
            ([a, b, host, port], false) => {
                Spec { listen: end(Some(a), b)?, connect: Some(end(Some(host), port)?) }
            }
            _ => return None,
        };
        let no_port = |end: &End| matches!(end, End::Port(_, 0));
        let listens = remote || !no_port(&spec.listen);
        let connects = spec.connect.as_ref().is_none_or(|end| !no_port(end));
        (listens && connects).then_some(spec)
    }

    /// The same with other paths. What a path contains afterwards is part of it.
    pub(super) fn with_paths(
        mut self,
        change: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Spec, String> {
        for end in std::iter::once(&mut self.listen).chain(&mut self.connect) {
            if let End::Path(path) = end {
                *path = change(path)?;
            }
        }
        Ok(self)
    }

    /// As the arguments of its keyword.
    pub(super) fn arguments(&self) -> String {
        match &self.connect {
            Some(connect) => format!("{} {}", show(&self.listen), show(connect)),
            None => show(&self.listen),
        }
    }

    /// As `ssh -G` prints it, after the keyword.
    pub(super) fn shown(&self, remote: bool) -> String {
        match self.connect {
            None if remote => format!("{} [socks]:0", self.arguments()),
            _ => self.arguments(),
        }
    }

    /// In the notation of the flags, brackets around hosts.
    pub(super) fn spec(&self) -> String {
        match &self.connect {
            Some(connect) => format!("{}:{}", flag(&self.listen), flag(connect)),
            None => flag(&self.listen),
        }
    }
}

struct Field {
    text: String,
    is_path: bool,
}

fn end(host: Option<&Field>, field: &Field) -> Option<End> {
    match (host, field.is_path) {
        (None, true) => Some(End::Path(field.text.clone())),
        (Some(_), true) => None,
        (host, false) => {
            let host = host.map(|h| h.text.clone());
            Some(End::Port(host, port_number(&field.text).filter(|_| !field.text.is_empty())?))
        }
    }
}

/// Splits at `:`; `[…]` is taken literally, a backslash protects the next character.
fn fields(text: &str) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (inner, after) = inner.split_once(']')?;
                (inner.to_owned(), after)
            }
            None => plain_field(rest)?,
        };
        found.push(Field { is_path: field.contains('/'), text: field });
        match after.strip_prefix(':') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => return None,
        }
        if found.len() > 4 {
            return None;
        }
    }
    // A colon at the end is not a field.
    if found.len() > 1 && text.ends_with(':') {
        found.pop();
    }
    Some(found)
}

fn plain_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return Some((field, text.split_at(at).1)),
            '\\' => field.push(chars.next()?.1),
            _ => field.push(c),
        }
    }
    Some((field, ""))
}

fn show(end: &End) -> String {
    match end {
        End::Path(path) => path.clone(),
        End::Port(None, port) => port.to_string(),
        End::Port(Some(host), port) => format!("[{host}]:{port}"),
    }
}

fn flag(end: &End) -> String {
    match end {
        End::Path(path) => path.replace('\\', r"\\").replace(':', r"\:").replace('[', r"\["),
        End::Port(Some(host), port) if !host.contains(':') => format!("{host}:{port}"),
        end => show(end),
    }
}

#[cfg(test)]
mod tests {
    use super::Spec;

    #[test]
    fn specs() {
        let cases = [
            ("8080:a:80", false, "8080 [a]:80", "8080:a:80"),
            ("*:8080:a:80", false, "[*]:8080 [a]:80", "*:8080:a:80"),
            ("[::1]:8080:[::2]:80", false, "[::1]:8080 [::2]:80", "[::1]:8080:[::2]:80"),
            (":8080:a:80", false, "[]:8080 [a]:80", ":8080:a:80"),
            ("/a:/b", false, "/a /b", "/a:/b"),
            ("8080:/b", false, "8080 /b", "8080:/b"),
            ("/a:h:1", false, "/a [h]:1", "/a:h:1"),
            ("h:1:/b", false, "[h]:1 /b", "h:1:/b"),
            ("1080", true, "1080", "1080"),
            ("localhost:1080", true, "[localhost]:1080", "localhost:1080"),
        ];
        for (text, dynamic, shown, spec) in cases {
            let parsed = Spec::parse(text, dynamic, false).unwrap();
            assert_eq!(
                (parsed.arguments().as_str(), parsed.spec().as_str()),
                (shown, spec),
                "{text}"
            );
        }
        for text in
            ["", "1", "a:b", "0:a:80", "8080:a:0", "8080:a:x", "[1", "1:2:3:4:5", "99999:a:1"]
        {
            assert_eq!(Spec::parse(text, false, false), None, "{text}");
        }
        assert!(Spec::parse("0:a:80", false, true).is_some());
        for path in ["/x-fe80::1", r"/a\b", "/[x]", "/%h"] {
            let spec = Spec::parse("/p:/q", false, false).unwrap();
            let spec = spec.with_paths(|_| Ok(path.to_owned())).unwrap();
            assert_eq!(spec.shown(false), format!("{path} {path}"));
            assert_eq!(Spec::parse(&spec.spec(), false, false), Some(spec), "{path}");
        }
    }
}
