//! Where groups come from besides our YAML: host files, batch systems, ClusterShell, Ansible, `ssh`.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::PathBuf;

use bssh_config::{Environment, Inventory, Node};
use tempfile::TempDir;

struct Lab {
    root: TempDir,
    env: Environment,
}

impl Lab {
    fn new(files: &[(&str, &str)]) -> Lab {
        let root = TempDir::new().unwrap();
        let at = |name: &str| root.path().join(name);
        for (path, text) in files {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        }
        let cfgdir = ("CLUSTERSHELL_CFGDIR".into(), at("clustershell").display().to_string());
        let env = Environment {
            home: at("home"),
            cwd: root.path().to_owned(),
            vars: [cfgdir].into(),
            ..Environment::default()
        };
        Lab { root, env }
    }

    fn set(mut self, name: &str, value: &str) -> Lab {
        self.env.vars.insert(name.into(), value.into());
        self
    }

    fn inventory(&self) -> Inventory {
        Inventory::load(&self.env, None).unwrap()
    }

    fn resolve(&self, expr: &str) -> Result<Vec<Node>, String> {
        let root = format!("{}/", self.root.path().display());
        self.inventory().resolve(expr, &[]).map_err(|e| e.to_string().replace(&root, ""))
    }

    fn names(&self, expr: &str) -> Result<String, String> {
        let nodes = self.resolve(expr)?;
        Ok(nodes.into_iter().map(|n| n.name).collect::<Vec<_>>().join(" "))
    }
}

#[test]
fn host_files() {
    let lab = Lab::new(&[
        (
            "hosts",
            "\u{feff}# a comment\n\nn[1-3]  # more\r\n  user@x:22\nn2\n[::1]\n[1-2]\n@g,^more\nh#1\n",
        ),
        ("more", "m1 m2\n"),
        ("loop", "a\n^loop\n"),
        ("config.yaml", "clusters: {g: {nodes: [g1]}}\n"),
        ("home/h", "z\n"),
    ]);
    let error = lab.names("^hosts").unwrap_err();
    assert!(
        error.starts_with("more line 1:3: node set \"m1 m2\": a name has no spaces"),
        "{error}"
    );
    fs::write(lab.root.path().join("more"), "m1\nm2").unwrap();
    let names = "n1 n2 n3 user@x:22 [::1] 1 2 g1 m1 m2 h#1";
    assert_eq!(lab.names("^hosts").unwrap(), names);
    assert_eq!(lab.names("a,^hosts&m[1-9]").unwrap(), "m1 m2");
    assert_eq!(lab.names("^~/h").unwrap(), "z");
    assert!(lab.names("^loop").unwrap_err().contains("does it contain itself?"));
    assert_eq!(lab.names("^nosuch").unwrap_err(), "nosuch: no such host file");
    assert_eq!(lab.names("^hosts:web").unwrap_err(), "hosts: not an Ansible inventory: no groups");
}

#[test]
fn batch_systems() {
    let lab = Lab::new(&[("nodes.pbs", "n1\nn1\nn2\n\nn1\n")])
        .set("SLURM_JOB_NODELIST", "r[1-2]n[08-10],login")
        .set("PBS_NODEFILE", "nodes.pbs");
    let slurm = "r1n08 r1n09 r1n10 r2n08 r2n09 r2n10 login";
    for expr in ["@slurm", "@slurm:", "@slurm:*"] {
        assert_eq!(lab.names(expr).unwrap(), slurm);
    }
    assert_eq!(lab.names("@pbs!n2").unwrap(), "n1");
    let groups: Vec<_> =
        lab.inventory().groups().into_iter().map(|g| (g.name, g.nodes.len())).collect();
    assert_eq!(groups, [("slurm".to_owned(), 7), ("pbs".to_owned(), 2)]);
    let outside = Lab::new(&[]);
    assert!(outside.names("@slurm").unwrap_err().contains("unknown group \"@slurm\""));
    let missing = Lab::new(&[]).set("PBS_NODEFILE", "gone");
    assert_eq!(missing.names("@pbs").unwrap_err(), "gone: no such file (PBS_NODEFILE)");
}

#[test]
fn groups_of_runs_and_of_ssh_hosts() {
    let lab = Lab::new(&[]);
    let mut inventory = lab.inventory();
    let names = |inventory: &Inventory, expr: &str| {
        let nodes = inventory.resolve(expr, &[]).map_err(|e| e.to_string())?;
        Ok::<_, String>(nodes.into_iter().map(|n| n.name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        names(&inventory, "@failed").unwrap_err(),
        "group \"@failed\": no run has ended yet"
    );
    assert_eq!(names(&inventory, "").unwrap_err(), "no targets");
    inventory.set_ssh_hosts(|| vec!["web1".into(), "web2".into(), "db".into()]);
    assert_eq!(names(&inventory, "@ssh:").unwrap(), "web1 web2 db");
    assert_eq!(names(&inventory, "@ssh:web*!@ssh:web2").unwrap(), "web1");
    assert!(names(&inventory, "@ssh:x").unwrap_err().contains("unknown group"));
}

#[test]
fn clustershell_groups() {
    let lab = Lab::new(&[
        (
            "clustershell/groups.conf",
            "[Main]\ndefault: roles\nconfdir: $CFGDIR/groups.conf.d\nautodir: $CFGDIR/groups.d\n",
        ),
        (
            "clustershell/groups.conf.d/c.conf",
            "[cmd,alias]\nmap: echo $SOURCE-$GROUP x[1-2]; echo last\nlist: echo a b\n\
             [bad]\nmap: exit 3\n[empty]\nmap: true\nall: cat ${CFGDIR}/all\n",
        ),
        (
            "clustershell/groups.d/r.yaml",
            "roles:\n  adm: a0\n  io: ['i[1-2]', '@racks:r1']\n  all: '@io,@adm'\n  bad: 'n['\n\
             racks:\n  r1: a[1-2]\n  r2: a3\n  old: '@r[1,2]'\n",
        ),
        ("clustershell/all", "e1\ne2\n"),
    ]);
    let table = [
        ("@adm", Ok("a0")),
        ("@roles:io", Ok("i1 i2 a1 a2")),
        ("@racks:old", Ok("a1 a2 a3")),
        ("@*", Ok("i1 i2 a1 a2 a0")),
        ("@racks:*", Ok("a1 a2 a3")),
        ("@cmd:g", Ok("cmd-g x1 x2 last")),
        ("@alias:g", Ok("alias-g x1 x2 last")),
        ("@cmd:*", Ok("cmd-a x1 x2 last cmd-b")),
        ("@empty:*", Ok("e1 e2")),
        ("@empty:x", Err("node set \"@empty:x\": unknown group \"@empty:x\" at column 1")),
        ("@bad:x", Err("group source \"bad\": \"exit 3\" failed: exit status: 3")),
        ("@cmd:$(id)", Err("group \"@cmd:$(id)\": not a name for a command")),
        ("@cmd:a;b", Err("group \"@cmd:a;b\": not a name for a command")),
    ];
    for (expr, want) in table {
        assert_eq!(lab.names(expr), want.map(str::to_owned).map_err(str::to_owned), "{expr}");
    }
    assert!(lab.names("@bad").unwrap_err().contains("missing \"]\""));
    let groups = lab.inventory().groups();
    assert!(groups.iter().any(|g| g.source == "racks" && g.name == "old" && g.nodes.len() == 3));
}

const INI: &str = "\
# inventory
loose ansible_host=10.0.0.9

[web]
web[01:03].x ansible_user=deploy  # three
web9 ansible_host=\"10.0.0.1\" ansible_port=2222
[db]
db-[a:c]:2200
[prod:children]
web
db
[web:vars]
ansible_user = www
ansible_ssh_private_key_file='/keys/web'
[prod:vars]
ansible_user=prod
[all:vars]
ansible_user=anyone
";

const YAML: &str = "\
all:
  hosts:
    loose: { ansible_host: 10.0.0.9 }
  vars: { ansible_user: anyone }
  children:
    prod:
      vars: { ansible_user: prod }
      children:
        web:
          hosts:
            web[01:03].x: { ansible_user: deploy }
            web9: { ansible_host: 10.0.0.1, ansible_port: 2222 }
          vars: { ansible_user: www, ansible_ssh_private_key_file: /keys/web }
        db:
          hosts:
            db-[a:c]: { ansible_port: 2200 }
";

#[test]
fn ansible_inventories() {
    let lab = Lab::new(&[
        ("hosts.ini", INI),
        ("hosts.yml", YAML),
        ("bad.ini", "[web]\na b\n"),
        ("bad.yml", "all: [x]\n"),
        ("loop.ini", "[a]\nx\n[a:children]\nb\n[b:children]\na\n"),
    ]);
    for file in ["hosts.ini", "hosts.yml"] {
        let group = |name: &str| lab.names(&format!("^{file}:{name}")).unwrap();
        assert_eq!(group("db"), "db-a db-b db-c");
        assert_eq!(group("prod"), "web01.x web02.x web03.x web9 db-a db-b db-c", "{file}");
        assert_eq!(group("all"), lab.names(&format!("^{file}")).unwrap());
        assert_eq!(
            lab.names(&format!("^{file}:x")).unwrap_err(),
            format!("{file}: no group \"x\"")
        );
        let nodes = lab.resolve(&format!("^{file}")).unwrap();
        assert_eq!(nodes.len(), 8);
        let says = |name: &str| nodes.iter().find(|n| n.name == name).unwrap().overrides.clone();
        let key = Some(PathBuf::from("/keys/web"));
        let (web, web9, db, loose) = (says("web02.x"), says("web9"), says("db-b"), says("loose"));
        assert_eq!((web.user.as_deref(), &web.identity), (Some("deploy"), &key), "{file}");
        assert_eq!(
            (web9.user.as_deref(), web9.host.as_deref(), web9.port),
            (Some("www"), Some("10.0.0.1"), Some(2222))
        );
        assert_eq!((db.user.as_deref(), db.port), (Some("prod"), Some(2200)));
        assert_eq!(
            (loose.user.as_deref(), loose.host.as_deref()),
            (Some("anyone"), Some("10.0.0.9"))
        );
    }
    assert_eq!(
        lab.names("^bad.ini").unwrap_err(),
        "bad.ini line 2: expected key=value, found \"b\""
    );
    assert!(
        lab.names("^bad.yml")
            .unwrap_err()
            .starts_with("bad.yml line 1:6: not an Ansible inventory")
    );
    assert_eq!(lab.names("^loop.ini:b").unwrap(), "x");
}
