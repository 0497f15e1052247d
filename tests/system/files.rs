//! What can be checked of the container files without a container engine: their schema, and that every path and
//! variable they name exists.

use std::process::Command;

use crate::harness::{leeway, root, variable};

#[test]
fn compose_and_dockerfile_name_only_what_exists() {
    let script = r#"
import sys, yaml, pathlib, re, subprocess
root = pathlib.Path(sys.argv[1])
compose = yaml.safe_load((root / "docker-compose.yml").read_text())
assert set(compose) <= {"name", "services", "volumes", "secrets"}, set(compose)
services = compose["services"]
assert set(services) == {"kafka", "postgres", "leeway", "mail"}, set(services)
known = {"image", "build", "command", "environment", "ports", "volumes", "depends_on", "healthcheck", "restart", "secrets"}
for name, service in services.items():
    assert set(service) <= known, (name, set(service) - known)
    assert "image" in service or "build" in service, name
    for dependency in service.get("depends_on", {}):
        assert dependency in services, dependency
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in compose.get("volumes", {}) or (root / source).exists(), volume
    for secret in service.get("secrets", []):
        assert secret in compose["secrets"], secret
for secret in compose.get("secrets", {}).values():
    assert "environment" in secret or (root / secret["file"]).exists(), secret
# Every LEEWAY_ variable is a setting.
settings = subprocess.run([sys.argv[2], "settings"], capture_output=True, text=True, check=True).stdout
import tomllib
table = tomllib.loads(settings)
for variable in services["leeway"]["environment"]:
    section, key = variable.removeprefix("LEEWAY_").lower().split("__")
    assert key.removesuffix("_file") in table[section], variable
dockerfile = (root / "Dockerfile").read_text()
stages = re.findall(r"^FROM \S+ AS (\w+)", dockerfile, re.M)
assert stages, "multi-stage"
for line in dockerfile.splitlines():
    if line.startswith("COPY --from="):
        assert line.split()[1].removeprefix("--from=") in stages, line
    elif line.startswith("COPY "):
        for source in line.split()[1:-1]:
            assert (root / source).exists(), line
print("ok")
"#;
    let done =
        Command::new(variable("LEEWAY_TEST_PYTHON")).args(["-c", script]).arg(root()).arg(leeway()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_readme_and_the_rules_example_are_true() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["make demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
    for line in readme.lines().filter(|line| line.contains("](")) {
        for link in line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.starts_with("http") && !link.starts_with('#'))
        {
            assert!(root().join(link).exists(), "README links to {link}");
        }
    }
    let checked = Command::new(leeway())
        .args(["check", "--config"])
        .arg(root().join("docs/examples/leeway.toml"))
        .current_dir(root().join("docs/examples"))
        .env("LEEWAY_STORE__DATA_DIR", std::env::temp_dir().join(crate::harness::unique("example")))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let help = Command::new(leeway()).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for command in ["demo", "run", "check", "migrate", "loadgen", "settings", "token"] {
        assert!(
            help.contains(command) && readme.contains(&format!("leeway {command}")),
            "{command} in --help and README"
        );
    }
}
