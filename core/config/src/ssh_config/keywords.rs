//! The keyword table: name, how its value is read, default, what it sets, its class, its meaning.
//!
//! Rows stand in the order in which `ssh -G` prints them. Everything else about a keyword follows
//! from its row; only tokens (`finish`) and the choice of the first value (`eval`) are elsewhere.

use super::algorithms::{CIPHERS, KEX, KEYS, MACS, SIGNATURES};
use super::options::HostOptions;
use super::set;
use super::special;
use super::values::{
    COMMAND, DIGEST, FACILITY, FILES, Kind, LOG_LEVEL, NUMBER, PORT, TEXT, TIME, TRUE_FALSE_ASK,
    YES_NO,
};

/// One row.
pub(super) struct Keyword {
    pub name: &'static str,
    pub kind: Kind,
    /// As printed; empty: none, or one that is computed.
    pub default: &'static str,
    pub class: Class,
    /// Every value counts, not only the first.
    pub collects: bool,
    pub set: fn(&mut HostOptions, &[String]),
    /// One line, for docs and `explain`.
    pub doc: &'static str,
}

/// What a value of the keyword does.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Applied,
    /// Accepted; has no effect on path or trust, so none here.
    Ignored,
    /// Would change path or trust, and cannot be done: an error for the values this is true for.
    Refused(fn(&[String]) -> bool),
    /// As `Refused` on the command line, a warning in users' files: something is missing, but path
    /// and trust are the same. Ignored in the system's file: distributions set it for everybody.
    Warned(fn(&[String]) -> bool),
}

type Set = fn(&mut HostOptions, &[String]);

const fn applied(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    set: Set,
    doc: &'static str,
) -> Keyword {
    Keyword { name, kind, default, class: Class::Applied, collects: false, set, doc }
}

const fn ignored(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Keyword {
    Keyword { name, kind, default, class: Class::Ignored, collects: false, set: |_, _| {}, doc }
}

/// Applied, but not through an option: where the files are evaluated, or by the frontend, which
/// reads the effective values.
const fn computed(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Keyword {
    applied(name, kind, default, |_, _| {}, doc)
}

impl Keyword {
    const fn collected(mut self) -> Keyword {
        self.collects = true;
        self
    }

    const fn refused(mut self, when: fn(&[String]) -> bool) -> Keyword {
        self.class = Class::Refused(when);
        self
    }

    const fn warned(mut self, when: fn(&[String]) -> bool) -> Keyword {
        self.class = Class::Warned(when);
        self
    }
}

/// The index of a keyword (lower case, old names too) in [`KEYWORDS`].
pub(super) fn find(name: &str) -> Option<usize> {
    let alias = ALIASES.iter().find(|(old, _)| *old == name).map(|(_, new)| *new);
    let name = alias.unwrap_or(name);
    KEYWORDS.iter().position(|keyword| keyword.name == name)
}

/// A row, for docs and completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeywordInfo {
    /// In lower case.
    pub name: &'static str,
    /// As `ssh -G` prints it; empty: none, or computed.
    pub default: &'static str,
    /// `applied`, `ignored`, `warned` or `refused` (for values that switch it on).
    pub class: &'static str,
    pub doc: &'static str,
}

/// All keywords that set something.
pub fn keywords() -> impl Iterator<Item = KeywordInfo> {
    KEYWORDS.iter().map(|keyword| KeywordInfo {
        name: keyword.name,
        default: keyword.default,
        class: match keyword.class {
            Class::Applied => "applied",
            Class::Ignored => "ignored",
            Class::Warned(_) => "warned",
            Class::Refused(_) => "refused",
        },
        doc: keyword.doc,
    })
}

/// Old names.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("challengeresponseauthentication", "kbdinteractiveauthentication"),
    ("skeyauthentication", "kbdinteractiveauthentication"),
    ("tisauthentication", "kbdinteractiveauthentication"),
    ("dsaauthentication", "pubkeyauthentication"),
    ("identityfile2", "identityfile"),
    ("keepalive", "tcpkeepalive"),
    ("hostbasedkeytypes", "hostbasedacceptedalgorithms"),
    ("hostbasedacceptedkeytypes", "hostbasedacceptedalgorithms"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"),
    ("smartcarddevice", "pkcs11provider"),
];

/// Known to ssh, without any effect today.
pub(super) const DEPRECATED: &[&str] = &[
    "protocol",
    "cipher",
    "fallbacktorsh",
    "globalknownhostsfile2",
    "rhostsauthentication",
    "userknownhostsfile2",
    "useroaming",
    "usersh",
    "useprivilegedport",
];

/// Known to ssh, which warns about them and goes on.
pub(super) const UNSUPPORTED: &[&str] = &[
    "afstokenpassing",
    "kerberosauthentication",
    "kerberostgtpassing",
    "rsaauthentication",
    "rhostsrsaauthentication",
    "compressionlevel",
];

fn is_on(values: &[String]) -> bool {
    !matches!(values.first().map(String::as_str), None | Some("no" | "false" | "none"))
}

const CANONICALIZE: Kind = Kind::Words(&[
    ("true", "true"),
    ("false", "false"),
    ("yes", "true"),
    ("no", "false"),
    ("always", "always"),
]);
const FAMILY: Kind = Kind::Words(&[("inet", "inet"), ("inet6", "inet6"), ("any", "any")]);
const MASTER: Kind = Kind::Words(&[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
]);
const PUBKEY: Kind = Kind::Words(&[
    ("true", "true"),
    ("false", "false"),
    ("yes", "true"),
    ("no", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
]);
const STRICT: Kind = Kind::Words(&[
    ("true", "true"),
    ("false", "false"),
    ("yes", "true"),
    ("no", "false"),
    ("ask", "ask"),
    ("off", "false"),
    ("accept-new", "accept-new"),
]);
const TTY: Kind = Kind::Words(&[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("force", "force"),
    ("auto", "auto"),
]);
const SESSION: Kind =
    Kind::Words(&[("none", "none"), ("subsystem", "subsystem"), ("default", "default")]);
const TUNNEL: Kind = Kind::Words(&[
    ("ethernet", "ethernet"),
    ("point-to-point", "point-to-point"),
    ("true", "point-to-point"),
    ("yes", "point-to-point"),
    ("false", "false"),
    ("no", "false"),
]);
const COMPRESSION: Kind = Kind::Words(&[("yes", "yes"), ("no", "no")]);

/// All keywords.
#[rustfmt::skip]
pub(super) static KEYWORDS: [Keyword; 103] = [
    applied("user", TEXT, "", set::user, "Log in as this user."),
    applied("hostname", TEXT, "", set::hostname, "The real name or address to connect to; %h is the name given."),
    applied("port", PORT, "22", set::port, "The port to connect to."),
    applied("addressfamily", FAMILY, "any", set::address_family, "any, inet or inet6."),
    applied("batchmode", YES_NO, "no", |o, v| o.batch_mode = set::yes(v), "Never ask; a server that no longer answers is noticed."),
    computed("canonicalizefallbacklocal", YES_NO, "yes", "no: fail when a name is not found in CanonicalDomains."),
    computed("canonicalizehostname", CANONICALIZE, "false", "Complete names with CanonicalDomains before matching again."),
    applied("checkhostip", YES_NO, "no", |o, v| o.check_host_ip = set::yes(v), "Check the address in known_hosts too."),
    applied("compression", COMPRESSION, "no", |o, v| o.compression = set::yes(v), "Compress."),
    applied("controlmaster", MASTER, "false", |o, v| o.control_master = set::on(v), "With ControlPath: the connection is the shared core's; ask is as yes, auto or no."),
    ignored("enablesshkeysign", YES_NO, "no", "Only for HostbasedAuthentication."),
    applied("clearallforwardings", YES_NO, "no", |o, v| o.clear_all_forwardings = set::yes(v), "Forget all forwards set so far."),
    computed("exitonforwardfailure", YES_NO, "no", "End when a forward cannot be set up."),
    ignored("fingerprinthash", DIGEST, "SHA256", "How fingerprints are shown; SHA256 only.")
        .warned(|v| v.first().is_some_and(|v| v != "SHA256")),
    ignored("forwardx11", YES_NO, "no", "X11 forwarding; not supported.").warned(is_on),
    ignored("forwardx11trusted", YES_NO, "yes", "Only for ForwardX11."),
    applied("gatewayports", YES_NO, "no", |o, v| o.gateway_ports = set::yes(v), "Let other machines use local forwards."),
    ignored("gssapiauthentication", YES_NO, "no", "Kerberos; not supported, other methods are tried.").warned(is_on),
    ignored("gssapikeyexchange", YES_NO, "no", "Kerberos key exchange; not supported, host keys are checked instead.").warned(is_on),
    ignored("gssapidelegatecredentials", YES_NO, "no", "Kerberos; not supported.").warned(is_on),
    ignored("gssapitrustdns", YES_NO, "no", "Kerberos; not supported."),
    ignored("gssapirenewalforcesrekey", YES_NO, "no", "Kerberos; not supported."),
    ignored("gssapikexalgorithms", TEXT, "gss-group14-sha256-,gss-group16-sha512-,gss-nistp256-sha256-,gss-curve25519-sha256-,gss-group14-sha1-,gss-gex-sha1-", "Kerberos; not supported."),
    ignored("gssapiclientidentity", TEXT, "", "Kerberos; not supported."),
    ignored("gssapiserveridentity", TEXT, "", "Kerberos; not supported."),
    applied("hashknownhosts", YES_NO, "no", |o, v| o.hash_known_hosts = set::yes(v), "Hash names written to known_hosts."),
    ignored("hostbasedauthentication", YES_NO, "no", "Host-based authentication; not supported, other methods are tried.").warned(is_on),
    applied("identitiesonly", YES_NO, "no", |o, v| o.identities_only = set::yes(v), "Offer only the configured identities, not all of the agent."),
    applied("kbdinteractiveauthentication", YES_NO, "yes", |o, v| o.kbd_interactive_authentication = set::yes(v), "Try keyboard-interactive."),
    applied("nohostauthenticationforlocalhost", YES_NO, "no", |o, v| o.no_host_authentication_for_localhost = set::yes(v), "Do not check the host key of this machine."),
    applied("passwordauthentication", YES_NO, "yes", |o, v| o.password_authentication = set::yes(v), "Try passwords."),
    applied("permitlocalcommand", YES_NO, "no", |o, v| o.permit_local_command = set::yes(v), "Allow LocalCommand."),
    ignored("proxyusefdpass", YES_NO, "no", "Take the connection as a descriptor from ProxyCommand; not supported.").refused(is_on),
    applied("pubkeyauthentication", PUBKEY, "true", |o, v| o.pubkey_authentication = set::on(v), "Try public keys."),
    computed("requesttty", TTY, "auto", "Ask for a terminal: auto, no, yes, force."),
    applied("sessiontype", SESSION, "default", |o, v| o.session_type = set::text(v), "default, none (-N) or subsystem (-s)."),
    computed("stdinnull", YES_NO, "no", "Read nothing from stdin (-n)."),
    applied("forkafterauthentication", YES_NO, "no", |o, v| o.fork_after_authentication = set::yes(v), "Go to the background (-f)."),
    applied("streamlocalbindunlink", YES_NO, "no", |o, v| o.stream_local_bind_unlink = set::yes(v), "Remove a socket file in the way of a forward."),
    applied("stricthostkeychecking", STRICT, "ask", set::strict, "What to do with unknown host keys: yes, no, accept-new, ask."),
    applied("tcpkeepalive", YES_NO, "yes", |o, v| o.tcp_keep_alive = set::yes(v), "TCP keepalive."),
    ignored("tunnel", TUNNEL, "false", "Network tunnels; not supported.").refused(is_on),
    // Without it a key is trusted by known_hosts alone, which is never less strict.
    ignored("verifyhostkeydns", TRUE_FALSE_ASK, "false", "Host keys from DNS; not looked up, known_hosts alone decides."),
    applied("visualhostkey", YES_NO, "no", |o, v| o.visual_host_key = set::yes(v), "Show a picture of the host key."),
    applied("updatehostkeys", TRUE_FALSE_ASK, "", |o, v| o.update_host_keys = set::ask(v), "Learn further host keys of a trusted host."),
    computed("enableescapecommandline", YES_NO, "no", "The ~C command line; there unless a file or an option says no."),
    computed("canonicalizemaxdots", NUMBER, "1", "Names with more dots are not completed."),
    applied("connectionattempts", NUMBER, "1", |o, v| o.connection_attempts = set::number(v), "How often to try to connect."),
    ignored("forwardx11timeout", TIME, "1200", "Only for ForwardX11."),
    applied("numberofpasswordprompts", NUMBER, "3", |o, v| o.number_of_password_prompts = set::number(v), "How often to ask for a password."),
    applied("serveralivecountmax", NUMBER, "3", |o, v| o.server_alive_count_max = set::number(v), "Unanswered alive messages before giving up."),
    applied("serveraliveinterval", TIME, "0", |o, v| o.server_alive_interval = set::time(v), "Silence after which the server is asked for a sign of life; as in Debian's ssh 300 with BatchMode."),
    applied("requiredrsasize", NUMBER, "1024", |o, v| o.required_rsa_size = set::number(v), "Shortest RSA host key accepted, and shortest RSA key offered."),
    applied("bindaddress", TEXT, "", |o, v| o.bind_address = set::some(v), "Local address to connect from."),
    applied("bindinterface", TEXT, "", |o, v| o.bind_interface = set::some(v), "Local interface to connect from."),
    applied("ciphers", Kind::Algorithms(&CIPHERS), "", |o, v| o.ciphers = Some(v.to_vec()), "Ciphers, in order of preference."),
    applied("controlpath", TEXT, "", |o, v| o.control_path = set::path(v), "Keeps shared connections apart by name; with ControlMaster a socket there shows that one is kept; none: no shared core."),
    applied("hostkeyalgorithms", Kind::Algorithms(&KEYS), "", |o, v| o.host_key_algorithms = Some(v.to_vec()), "Host key algorithms, in order of preference."),
    applied("hostkeyalias", TEXT, "", set::host_key_alias, "Name to look the host key up under."),
    ignored("hostbasedacceptedalgorithms", Kind::Algorithms(&KEYS), "", "Only for HostbasedAuthentication."),
    applied("identityagent", Kind::Parse(special::agent_path), "", |o, v| o.identity_agent = set::path(v), "Socket of the agent, or none."),
    computed("ignoreunknown", TEXT, "", "Patterns of keywords that are no error."),
    ignored("kbdinteractivedevices", TEXT, "", "The server chooses the devices."),
    applied("kexalgorithms", Kind::Algorithms(&KEX), "", |o, v| o.kex_algorithms = Some(v.to_vec()), "Key exchange algorithms, in order of preference."),
    applied("casignaturealgorithms", Kind::Algorithms(&SIGNATURES), "", |o, v| o.ca_signature_algorithms = Some(v.to_vec()), "Algorithms certificates may be signed with."),
    applied("localcommand", COMMAND, "", |o, v| o.local_command = set::command(v), "Run here after connecting."),
    applied("remotecommand", COMMAND, "", |o, v| o.remote_command = set::command(v), "Run there when no command is given."),
    applied("loglevel", LOG_LEVEL, "INFO", set::log_level, "QUIET to DEBUG3."),
    applied("macs", Kind::Algorithms(&MACS), "", |o, v| o.macs = Some(v.to_vec()), "MACs, in order of preference."),
    ignored("pkcs11provider", TEXT, "", "Keys on tokens; not supported but through an agent.").warned(is_on),
    ignored("securitykeyprovider", TEXT, "internal", "FIDO keys through a library; not supported but through an agent.")
        .warned(|v| is_on(v) && v.first().is_some_and(|v| v != "internal")),
    applied("preferredauthentications", TEXT, "", set::preferred, "Authentication methods, in order."),
    applied("pubkeyacceptedalgorithms", Kind::Algorithms(&KEYS), "", |o, v| o.pubkey_accepted_algorithms = Some(v.to_vec()), "Algorithms of the keys offered."),
    applied("revokedhostkeys", TEXT, "", |o, v| o.revoked_host_keys = set::path(v), "File of host keys never to be trusted."),
    ignored("xauthlocation", TEXT, "/usr/bin/xauth", "Only for ForwardX11."),
    applied("knownhostscommand", COMMAND, "", |o, v| o.known_hosts_command = set::command(v), "Command that prints known host keys."),
    applied("dynamicforward", Kind::Parse(special::dynamic_forward), "", |o, v| set::forward(&mut o.dynamic_forwards, v), "SOCKS proxy here (-D).").collected(),
    applied("localforward", Kind::Parse(special::local_forward), "", |o, v| set::forward(&mut o.local_forwards, v), "Forward a local port (-L).").collected(),
    applied("remoteforward", Kind::Parse(special::remote_forward), "", |o, v| set::forward(&mut o.remote_forwards, v), "Forward a remote port (-R).").collected(),
    applied("identityfile", TEXT, "", set::identity, "Private key to offer.").collected(),
    computed("canonicaldomains", Kind::Parse(special::canonical_domains), "none", "Domains to look names up in."),
    applied("certificatefile", TEXT, "", |o, v| o.certificate_files.extend(v.iter().map(Into::into)), "Certificate to offer.").collected(),
    applied("globalknownhostsfile", FILES, "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2", |o, v| o.global_known_hosts_files = set::files(v), "The system's known_hosts files."),
    applied("userknownhostsfile", FILES, "", |o, v| o.user_known_hosts_files = set::files(v), "The user's known_hosts files."),
    applied("sendenv", Kind::Parse(special::send_env), "", set::send_env, "Variables to pass on; -NAME takes one back.").collected(),
    applied("setenv", Kind::Parse(special::set_env), "", set::set_env, "Variables to set there."),
    ignored("logverbose", Kind::Parse(special::log_verbose), "none", "Debugging of OpenSSH's source lines."),
    applied("permitremoteopen", Kind::Parse(special::permit_remote_open), "any", set::permit_open, "What clients of a remote SOCKS forward may reach."),
    applied("addkeystoagent", Kind::Parse(special::add_keys), "false", set::add_keys, "Give keys read from files to the agent: yes, ask, confirm, a lifetime."),
    applied("forwardagent", Kind::Parse(special::forward_agent), "no", set::forward_agent, "Make the agent available there."),
    applied("connecttimeout", TIME, "none", set::connect_timeout, "Time to connect in."),
    ignored("tunneldevice", Kind::Parse(special::tunnel_device), "any:any", "Only for Tunnel."),
    computed("canonicalizepermittedcnames", Kind::Parse(special::permitted_cnames), "none", "Aliases to follow to the name they stand for."),
    applied("controlpersist", Kind::Parse(special::control_persist), "no", set::control_persist, "How long a shared core started for it, and its connections, stay."),
    applied("escapechar", Kind::Parse(special::escape_char), "~", set::escape_char, "Escape character of terminals."),
    ignored("ipqos", Kind::Parse(special::ip_qos), "lowdelay throughput", "Traffic class; none is set."),
    applied("rekeylimit", Kind::Parse(special::rekey_limit), "0 0", set::rekey_limit, "Bytes and time after which keys are changed."),
    applied("streamlocalbindmask", Kind::Parse(special::bind_mask), "0177", |o, v| o.stream_local_bind_mask = set::number(v), "Mode mask of forwarded sockets."),
    computed("syslogfacility", FACILITY, "USER", "Facility of the system's log, with -y."),
    applied("proxycommand", COMMAND, "", |o, v| o.proxy_command = set::command(v), "Connect through this command."),
    applied("proxyjump", Kind::Parse(special::proxy_jump), "", set::proxy_jump, "Connect through these hosts (-J)."),
    applied("tag", TEXT, "", |o, v| o.tag = set::some(v), "For Match tagged (-P)."),
    ignored("obscurekeystroketiming", TEXT, "", "Hide the timing of keystrokes; not supported.").warned(is_on),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALIASES, DEPRECATED, KEYWORDS, UNSUPPORTED, find};

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<&str> = KEYWORDS.iter().map(|k| k.name).collect();
        assert_eq!(names.len(), KEYWORDS.len());
        for (row, keyword) in KEYWORDS.iter().enumerate() {
            assert_eq!(find(keyword.name), Some(row));
            assert!(keyword.doc.ends_with('.'), "{}", keyword.name);
        }
        for (old, new) in ALIASES {
            assert_eq!(find(old), find(new), "{old}");
        }
        assert!(DEPRECATED.iter().chain(UNSUPPORTED).all(|name| find(name).is_none()));
    }
}
