//! The manifest for Kubernetes is consistent, and tlssrv accepts its configuration.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

use tlssrv_testing::programs::{Ran, run};
use tlssrv_testing::{Site, pki, tlssrv_path};

/// The manifest, by the kind and name of what is in it.
struct Manifest(BTreeMap<(String, String), Yaml>);

impl Manifest {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/fleet/kubernetes.yaml");
        let documents = YamlLoader::load_from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let mut all = BTreeMap::new();
        for document in documents {
            let name = text(&document["metadata"]["name"]);
            let before = all.insert((text(&document["kind"]), name), document);
            assert!(before.is_none(), "{before:?} is there twice");
        }
        Self(all)
    }

    fn get(&self, kind: &str, name: &str) -> &Yaml {
        &self.0[&(kind.to_owned(), name.to_owned())]
    }

    fn pod(&self) -> &Yaml {
        &self.get("Deployment", "tlssrv")["spec"]["template"]["spec"]
    }

    fn container(&self) -> &Yaml {
        &self.pod()["containers"][0]
    }

    /// The files in the volume of the container, by their names.
    fn files(&self) -> BTreeMap<String, String> {
        let mount = &self.container()["volumeMounts"][0];
        let volume = (self.pod()["volumes"].as_vec().unwrap().iter())
            .find(|volume| volume["name"] == mount["name"])
            .unwrap();
        let mut files = BTreeMap::new();
        for source in volume["projected"]["sources"].as_vec().unwrap() {
            let (kind, data, name) = match &source["secret"] {
                Yaml::BadValue => ("ConfigMap", "data", &source["configMap"]["name"]),
                secret => ("Secret", "stringData", &secret["name"]),
            };
            for (key, value) in self.get(kind, &text(name))[data].as_hash().unwrap() {
                assert_eq!(files.insert(text(key), text(value)), None);
            }
        }
        files
    }
}

fn text(value: &Yaml) -> String {
    value.as_str().unwrap().to_owned()
}

/// The volume as the kubelet makes it: all files in one directory, with the mode of the volume.
fn site_of(files: &BTreeMap<String, String>, mode: u32) -> Site {
    let site = Site::new();
    for (name, text) in files {
        fs::write(site.file(name), text).unwrap();
        fs::set_permissions(site.file(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    site
}

fn check(site: &Site) -> Ran {
    let mut command = Command::new(tlssrv_path());
    command.args(["--check", "-f", "tlssrv.toml"]);
    run(command.current_dir(site.path()))
}

/// The files with real secrets in place of the placeholders.
fn with_secrets(mut files: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let made = pki::certificate(&["www.example.com"]);
    for (name, text) in [
        ("tickets.key", format!("{}=\n", "A".repeat(43))),
        ("tls.crt", made.certificate),
        ("tls.key", made.key),
    ] {
        let before = files.insert(name.to_owned(), text);
        assert!(before.is_some(), "{name} is no secret of the manifest");
    }
    files
}

/// With a backend whose name can be looked up here.
fn with_a_backend(files: &mut BTreeMap<String, String>) {
    let table = files.get_mut("tlssrv.toml").unwrap();
    assert!(table.contains("web.default.svc.cluster.local"), "{table}");
    *table = table.replace("web.default.svc.cluster.local", "127.0.0.1");
}

#[test]
fn the_table_of_the_manifest_is_accepted_with_its_secrets() {
    let manifest = Manifest::read();
    let mut files = with_secrets(manifest.files());
    with_a_backend(&mut files);
    let mode = octal(&manifest.pod()["volumes"][0]["projected"]["defaultMode"]);
    let ran = check(&site_of(&files, mode));
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let mut warnings = ran.stderr.lines().filter(|line| line.contains("warning:"));
    // A kubelet connects from another address.
    let unexpected = |line: &&str| !line.contains("other machines can ask for metrics");
    assert_eq!(warnings.find(unexpected), None, "{}", ran.stderr);

    // With the default mode of mounted secrets.
    let ran = check(&site_of(&files, 0o644));
    assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("everybody can read it"),
        "{}",
        ran.stderr
    );
}

/// `0440`, which is a number in base 8 for Kubernetes' YAML, and one in base 10 for YAML 1.2.
fn octal(mode: &Yaml) -> u32 {
    u32::from_str_radix(&mode.as_i64().unwrap().to_string(), 8).unwrap()
}

#[test]
fn the_placeholder_secrets_of_the_manifest_are_refused() {
    let mut files = Manifest::read().files();
    with_a_backend(&mut files);
    let ran = check(&site_of(&files, 0o440));
    assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
    for file in ["tickets.key", "tls.crt"] {
        let line = |line: &str| line.contains("unable to") && line.contains(file);
        assert!(ran.stderr.lines().any(line), "{file}: {}", ran.stderr);
    }
}

#[test]
fn the_parts_of_the_manifest_name_each_other() {
    let manifest = Manifest::read();
    let (pod, container) = (manifest.pod(), manifest.container());

    // The configuration is where the arguments say.
    let directory = text(&container["volumeMounts"][0]["mountPath"]);
    let arguments = container["args"].as_vec().unwrap();
    assert_eq!(
        arguments[1].as_str(),
        Some(format!("{directory}/tlssrv.toml").as_str())
    );

    // Its ports are those of the container, and of the Service and the probes.
    let table: toml::Table = toml::from_str(&manifest.files()["tlssrv.toml"]).unwrap();
    let port = |name: &Yaml| {
        let ports = container["ports"].as_vec().unwrap();
        let port = ports.iter().find(|port| port["name"] == *name).unwrap();
        toml::Value::from(format!(":{}", port["containerPort"].as_i64().unwrap()))
    };
    let service = &manifest.get("Service", "tlssrv")["spec"];
    assert_eq!(
        table["listen"][0]["address"],
        port(&service["ports"][0]["targetPort"])
    );
    for probe in ["readinessProbe", "livenessProbe"] {
        let asks = &container[probe]["httpGet"]["port"];
        assert_eq!(table["metrics"]["listen"], port(asks), "{probe}");
        assert_ne!(*asks, service["ports"][0]["targetPort"], "{probe}");
    }

    // The selectors match the labels of the pods.
    let labels = &manifest.get("Deployment", "tlssrv")["spec"]["template"]["metadata"]["labels"];
    let deployment = &manifest.get("Deployment", "tlssrv")["spec"];
    let budget = &manifest.get("PodDisruptionBudget", "tlssrv")["spec"];
    for selector in [
        &deployment["selector"]["matchLabels"],
        &budget["selector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        &service["selector"],
    ] {
        assert_eq!(selector, labels);
    }
    // The group of the volume can read the files.
    let context = &pod["securityContext"];
    assert_eq!(context["fsGroup"], context["runAsGroup"]);
}
