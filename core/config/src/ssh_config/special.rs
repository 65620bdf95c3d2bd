//! Values with a grammar of their own: forwards, jump hosts, environment, agents, tunnels.

use super::destination::{check_domain, host_and_rest, jump_hosts, port_number};
use super::forwards::Spec;
use super::tokens::check_variables;
use super::values::{Args, Parsed, bytes, seconds};

type Outcome = Result<Option<Parsed>, String>;

/// Most `IdentityFile` and `CertificateFile` lines one destination may have, as in ssh.
pub(super) const FILES_MAX: usize = 100;

pub(super) fn local_forward(args: &mut Args<'_>) -> Outcome {
    let listen = args.required()?;
    let missing = || format!("{}: missing target argument", args.keyword);
    let target = args.words.next().filter(|word| !word.is_empty()).ok_or_else(missing)?;
    forward(args.keyword, &format!("{listen}:{target}"), false)
}

pub(super) fn remote_forward(args: &mut Args<'_>) -> Outcome {
    let listen = args.required()?;
    match args.words.next().filter(|word| !word.is_empty()) {
        Some(target) => forward(args.keyword, &format!("{listen}:{target}"), false),
        None => forward(args.keyword, &listen, true),
    }
}

pub(super) fn dynamic_forward(args: &mut Args<'_>) -> Outcome {
    let listen = args.required()?;
    forward(args.keyword, &listen, true)
}

fn forward(keyword: &str, text: &str, dynamic: bool) -> Outcome {
    check_variables(text)?;
    // What a variable stands for is only known later; then it is checked there.
    if text.contains("${") {
        return Ok(Some(Parsed::one(text)));
    }
    let spec = Spec::parse(text, dynamic, keyword == "remoteforward");
    let spec = spec.ok_or_else(|| format!("{keyword}: bad forwarding specification \"{text}\""))?;
    Ok(Some(Parsed::pair(spec.spec(), spec.shown(keyword == "remoteforward"))))
}

/// The line `-L`, `-R` or `-D` (`flag`) with this argument stands for, to be passed like `-o`.
///
/// # Errors
/// A specification that is none.
pub fn forward_option(flag: char, text: &str) -> Result<String, crate::Error> {
    let (keyword, dynamic) = match flag {
        'L' => ("LocalForward", false),
        'R' => ("RemoteForward", false),
        _ => ("DynamicForward", true),
    };
    let remote = flag == 'R';
    let spec = Spec::parse(text, dynamic, remote)
        .or_else(|| remote.then(|| Spec::parse(text, true, true)).flatten());
    let spec = spec.ok_or_else(|| {
        crate::Error::plain(format!("-{flag}: bad forwarding specification \"{text}\""))
    })?;
    Ok(format!("{keyword} {}", spec.arguments()))
}

pub(super) fn proxy_jump(args: &mut Args<'_>) -> Outcome {
    let text = args.rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
    let text = text.split('#').next().unwrap_or_default().trim_end();
    args.words.by_ref().for_each(drop);
    if text.eq_ignore_ascii_case("none") {
        return Ok(Some(Parsed { values: vec!["none".into()], shown: Vec::new() }));
    }
    let hops = jump_hosts(text).ok_or_else(|| format!("invalid ProxyJump \"{text}\""))?;
    let last = hops.last().map(|hop| {
        let numeric =
            hop.host.contains(':') || hop.host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let user = hop.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
        match numeric {
            true => format!("{user}[{}]{port}", hop.host),
            false => format!("{user}{}{port}", hop.host),
        }
    });
    let extra = text.rsplit_once(',').map(|(extra, _)| format!("{extra},")).unwrap_or_default();
    Ok(Some(Parsed::pair(text, format!("{extra}{}", last.unwrap_or_default()))))
}

pub(super) fn rekey_limit(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let limit = match word.as_str() {
        "default" => 0,
        _ => bytes(&word).ok_or_else(|| format!("RekeyLimit: bad number '{word}'"))?,
    };
    if (1..16).contains(&limit) {
        return Err("RekeyLimit too small".into());
    }
    let interval = match args.words.next().as_deref() {
        None | Some("none") => 0,
        Some(word) => seconds(word).ok_or("RekeyLimit: invalid time value")?,
    };
    Ok(Some(Parsed::line(vec![limit.to_string(), interval.to_string()])))
}

pub(super) fn permit_remote_open(args: &mut Args<'_>) -> Outcome {
    let words = args.all(&["any", "none"])?;
    if words.is_empty() {
        return Err("missing permitremoteopen specification".into());
    }
    for word in words.iter().filter(|w| !["any", "none"].contains(&w.to_lowercase().as_str())) {
        let port = host_and_rest(word).and_then(|(_, rest)| rest).map(|(_, port)| port);
        if port != Some("*") && port.and_then(port_number).unwrap_or(0) == 0 {
            return Err(format!("bad port number in permitremoteopen \"{word}\""));
        }
    }
    Ok(Some(Parsed::line(words)))
}

pub(super) fn send_env(args: &mut Args<'_>) -> Outcome {
    let words: Vec<String> = args.words.by_ref().collect();
    match words.iter().find(|word| word.is_empty() || word.contains('=')) {
        Some(word) => Err(format!("sendenv: invalid environment name \"{word}\"")),
        None => Ok(Some(Parsed { shown: words.clone(), values: words })),
    }
}

pub(super) fn set_env(args: &mut Args<'_>) -> Outcome {
    let mut set: Vec<String> = Vec::new();
    for word in args.words.by_ref() {
        let Some((name, _)) = word.split_once('=') else {
            return Err(format!("invalid SetEnv \"{word}\", not NAME=VALUE"));
        };
        let again = set.iter().any(|s| s.split_once('=').is_some_and(|(n, _)| n == name));
        if !again {
            set.push(word);
        }
    }
    Ok(Some(Parsed { shown: set.clone(), values: set }))
}

/// OpenSSH keeps only the first pattern of the line.
pub(super) fn log_verbose(args: &mut Args<'_>) -> Outcome {
    let mut words = args.all(&["none"])?;
    words.truncate(1);
    Ok(Some(Parsed::line(words)))
}

pub(super) fn agent_path(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    check_agent(args.keyword, &word)?;
    Ok(Some(Parsed::one(word)))
}

pub(super) fn forward_agent(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let flag = match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => "yes",
        "no" | "false" => "no",
        _ => {
            check_agent(args.keyword, &word)?;
            word.as_str()
        }
    };
    Ok(Some(Parsed::one(flag)))
}

fn check_agent(keyword: &str, text: &str) -> Result<(), String> {
    check_variables(text).map_err(|why| format!("{keyword}: {why}"))?;
    let name = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match text.strip_prefix('$') {
        Some(rest) if !rest.starts_with('{') && !name(rest) => {
            Err(format!("{keyword}: invalid environment name {text}"))
        }
        _ => Ok(()),
    }
}

pub(super) fn add_keys(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let lifetime = args.words.next();
    let wrong = || "addkeystoagent: unsupported option".to_owned();
    let known = match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => "true",
        "no" | "false" => "false",
        "ask" => "ask",
        "confirm" => "confirm",
        _ => "",
    };
    let shown = match (known, lifetime) {
        ("", None) => match seconds(&word).ok_or_else(wrong)? {
            0 => "true".to_owned(),
            time => time.to_string(),
        },
        ("confirm", Some(time)) => {
            match seconds(&time).ok_or("addkeystoagent: invalid time value")? {
                0 => "confirm".to_owned(),
                time => format!("confirm {time}"),
            }
        }
        (_, None) => known.to_owned(),
        _ => return Err(wrong()),
    };
    Ok(Some(Parsed::one(shown)))
}

pub(super) fn control_persist(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let shown = match word.as_str() {
        "no" | "false" => "no".to_owned(),
        "yes" | "true" => "yes".to_owned(),
        _ => match seconds(&word).ok_or("bad ControlPersist argument")? {
            0 => "yes".to_owned(),
            time => time.to_string(),
        },
    };
    Ok(Some(Parsed::one(shown)))
}

/// Set as the character's code, printed as `vis(3)` does.
pub(super) fn escape_char(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let code = match word.as_bytes() {
        b"none" => return Ok(Some(Parsed::one("none"))),
        [byte] => *byte,
        [b'^', byte @ 64..=127] => byte & 31,
        _ => return Err("bad escape character".into()),
    };
    let shown = match code {
        b' ' | b'\t' | b'\n' => format!("\\{code:03o}"),
        0x7f => "\\^?".to_owned(),
        0..=0x1f => format!("\\^{}", char::from(code + 64)),
        b'\\' => "\\\\".to_owned(),
        _ => char::from(code).to_string(),
    };
    Ok(Some(Parsed::pair(code.to_string(), shown)))
}

pub(super) fn bind_mask(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let mask = u32::from_str_radix(&word, 8).ok().filter(|mask| *mask <= 0o777);
    let mask = mask.ok_or("streamlocalbindmask: bad mask")?;
    Ok(Some(Parsed::pair(mask.to_string(), format!("0{mask:o}"))))
}

pub(super) fn tunnel_device(args: &mut Args<'_>) -> Outcome {
    let word = args.required()?;
    let (local, remote) = word.split_once(':').unwrap_or((&word, "any"));
    let shown = |text: &str| match text.to_ascii_lowercase().as_str() {
        "any" => Some("any".to_owned()),
        number => number.parse::<u32>().ok().filter(|n| *n < 0x7fff_ffff).map(|n| n.to_string()),
    };
    match (shown(local), shown(remote)) {
        (Some(local), Some(remote)) => Ok(Some(Parsed::one(format!("{local}:{remote}")))),
        _ => Err("tunneldevice: bad tun device".into()),
    }
}

pub(super) fn canonical_domains(args: &mut Args<'_>) -> Outcome {
    let words = args.all(&["none"])?;
    let mut domains = Vec::new();
    for word in words {
        let domain = word.to_ascii_lowercase();
        check_domain(&domain)?;
        domains.push(domain.strip_suffix('.').unwrap_or(&domain).to_owned());
    }
    Ok(Some(Parsed::line(domains)))
}

pub(super) fn permitted_cnames(args: &mut Args<'_>) -> Outcome {
    let mut rules = Vec::new();
    for word in args.all(&["none"])? {
        let rule = match word.to_ascii_lowercase().as_str() {
            "none" => "none".to_owned(),
            "*" => "*:*".to_owned(),
            rule if rule.split_once(':').is_some_and(|(_, to)| !to.is_empty()) => rule.to_owned(),
            rule => return Err(format!("invalid permitted CNAME \"{rule}\"")),
        };
        rules.push(rule);
    }
    Ok(Some(Parsed::line(rules)))
}

pub(super) fn ip_qos(args: &mut Args<'_>) -> Outcome {
    let first = args.required()?;
    let second = args.words.next();
    let shown = |word: &str| traffic_class(word).ok_or_else(|| format!("bad IPQoS value: {word}"));
    let first = shown(&first)?;
    let second = match second {
        Some(word) => shown(&word)?,
        None => first.clone(),
    };
    Ok(Some(Parsed::line(vec![first, second])))
}

fn traffic_class(word: &str) -> Option<String> {
    const NAMES: [(&str, u8); 25] = [
        ("af11", 0x28),
        ("af12", 0x30),
        ("af13", 0x38),
        ("af21", 0x48),
        ("af22", 0x50),
        ("af23", 0x58),
        ("af31", 0x68),
        ("af32", 0x70),
        ("af33", 0x78),
        ("af41", 0x88),
        ("af42", 0x90),
        ("af43", 0x98),
        ("cs0", 0x00),
        ("cs1", 0x20),
        ("cs2", 0x40),
        ("cs3", 0x60),
        ("cs4", 0x80),
        ("cs5", 0xa0),
        ("cs6", 0xc0),
        ("cs7", 0xe0),
        ("ef", 0xb8),
        ("le", 0x01),
        ("lowdelay", 0x10),
        ("throughput", 0x08),
        ("reliability", 0x04),
    ];
    let lower = word.to_ascii_lowercase();
    if lower == "none" || NAMES.iter().any(|(name, _)| *name == lower) {
        return Some(lower);
    }
    let value = match lower.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok()?,
        None if lower.starts_with('0') => u8::from_str_radix(&lower, 8).ok()?,
        None => lower.parse().ok()?,
    };
    let name = NAMES.iter().find(|(_, known)| *known == value);
    Some(name.map_or_else(|| format!("0x{value:02x}"), |(name, _)| (*name).to_owned()))
}
