//! Checks which crate may depend on which.

use std::collections::{BTreeMap, BTreeSet};

use super::{Tree, holds};

#[derive(Default)]
struct Package {
    /// The packages that are built into it.
    built_in: BTreeSet<String>,
    /// The same, and the dependencies that only its tests and build script use.
    all: BTreeSet<String>,
}

impl Tree {
    fn packages(&self) -> BTreeMap<String, Package> {
        let manifests = self.0.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
        let manifests = manifests.map(|(path, text)| (path, text.parse::<toml::Table>().expect("a manifest is TOML")));
        manifests
            .filter_map(|(_, manifest)| {
                let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
                let mut package = Package::default();
                let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
                for table in targets.filter_map(|(_, target)| target.as_table()).chain([&manifest]) {
                    package.built_in.extend(dependencies(table, "dependencies"));
                    package.all.extend(dependencies(table, "dev-dependencies"));
                    package.all.extend(dependencies(table, "build-dependencies"));
                }
                package.all.extend(package.built_in.iter().cloned());
                Some((name, package))
            })
            .collect()
    }
}

fn dependencies(table: &toml::Table, kind: &str) -> Vec<String> {
    let dependencies = table.get(kind).and_then(toml::Value::as_table).into_iter().flatten();
    let real_name = |(name, value): (&String, &toml::Value)| {
        value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
    };
    dependencies.map(real_name).collect()
}

/// Everything `name` depends on, directly or through what is built into others; its own tests count too.
fn reached_from(name: &str, packages: &BTreeMap<String, Package>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = packages.get(name).into_iter().flat_map(|package| &package.all).collect();
    while let Some(name) = next.pop() {
        if reached.insert(name.clone()) {
            next.extend(packages.get(name).into_iter().flat_map(|package| &package.built_in));
        }
    }
    reached
}

/// `from` never reaches a package that `is_forbidden`.
fn no_arrow(from: &'static str, is_forbidden: impl Fn(&str) -> bool) -> impl Fn(&Tree) -> Vec<String> {
    move |tree| {
        let reached = reached_from(from, &tree.packages());
        reached.iter().filter(|to| is_forbidden(to)).map(|to| format!("{from} depends on {to}")).collect()
    }
}

/// Only `allowed` name `krate` in their manifests.
fn only(allowed: &'static [&str], krate: &'static str) -> impl Fn(&Tree) -> Vec<String> {
    move |tree| {
        let packages = tree.packages();
        let users = packages.iter().filter(|(_, package)| package.all.contains(krate)).map(|(name, _)| name);
        users
            .filter(|name| !allowed.contains(&name.as_str()))
            .map(|name| format!("{name} depends on {krate}, which only {} may", allowed.join(" and ")))
            .collect()
    }
}

const INGRESS_ON_WORKER: (&str, &str) =
    ("ingress/Cargo.toml", "[package]\nname = \"payhook-ingress\"\n[dependencies]\npayhook-worker.workspace = true");

#[test]
fn ingress_and_worker_never_depend_on_each_other() {
    holds(no_arrow("payhook-ingress", |to| to == "payhook-worker"), &[&[INGRESS_ON_WORKER]]);
    let worker_on_ingress =
        "[package]\nname = \"payhook-worker\"\n[dev-dependencies]\nx = { package = \"payhook-ingress\" }";
    holds(no_arrow("payhook-worker", |to| to == "payhook-ingress"), &[&[("worker/Cargo.toml", worker_on_ingress)]]);
}

#[test]
fn ingress_does_not_depend_on_the_store_even_through_another() {
    let worker =
        "[package]\nname = \"payhook-worker\"\n[target.'cfg(unix)'.dependencies]\npayhook-store.workspace = true";
    holds(
        no_arrow("payhook-ingress", |to| to == "payhook-store"),
        &[&[INGRESS_ON_WORKER, ("worker/Cargo.toml", worker)]],
    );
}

#[test]
fn the_schema_depends_on_no_other_crate_of_ours() {
    let schema = "[package]\nname = \"payhook-schema\"\n[build-dependencies]\npayhook-store = { path = \"../store\" }";
    holds(no_arrow("payhook-schema", |to| to.starts_with("payhook")), &[&[("schema/Cargo.toml", schema)]]);
}

#[test]
fn queue_and_store_know_neither_each_other_nor_the_providers() {
    let manifest =
        |name: &str, on: &str| format!("[package]\nname = \"{name}\"\n[dependencies]\n{on}.workspace = true");
    for (from, other) in [("payhook-queue", "payhook-store"), ("payhook-store", "payhook-queue")] {
        for forbidden in [other, "payhook-provider"] {
            let broken = manifest(from, forbidden);
            holds(no_arrow(from, |to| to == forbidden), &[&[("x/Cargo.toml", &broken)]]);
        }
    }
}

#[test]
fn the_vault_knows_what_it_seals_and_nobody_else() {
    let vault = "[package]\nname = \"payhook-vault\"\n[dependencies]\npayhook-store.workspace = true";
    let is_other = |to: &str| to.starts_with("payhook-") && to != "payhook-schema";
    holds(no_arrow("payhook-vault", is_other), &[&[("vault/Cargo.toml", vault)]]);
}

#[test]
fn each_protocol_and_each_cipher_has_one_home() {
    let rules: [(&'static [&str], &'static str); 7] = [
        (&["payhook-queue", "payhook-bench", "payhook-example-consumer"], "lapin"),
        (&["payhook-queue", "payhook-store", "payhook-bench", "payhook-example-consumer"], "sqlx"),
        (&["payhook-provider"], "rsa"),
        (&["payhook-provider"], "hmac"),
        (&["payhook-provider"], "aws-lc-rs"),
        (&["payhook-schema"], "backoff"),
        (&["payhook-vault"], "chacha20poly1305"),
    ];
    for (allowed, krate) in rules {
        let broken = format!("[package]\nname = \"payhook-console\"\n[dev-dependencies]\n{krate} = \"1\"");
        holds(only(allowed, krate), &[&[("console/Cargo.toml", &broken)]]);
    }
}

#[test]
fn the_crates_these_rules_name_exist() {
    let rule = |tree: &Tree| {
        let packages = tree.packages();
        let named = [
            "payhook-ingress",
            "payhook-worker",
            "payhook-schema",
            "payhook-queue",
            "payhook-store",
            "payhook-provider",
            "payhook-vault",
        ];
        named.iter().filter(|name| !packages.contains_key(**name)).map(|name| format!("there is no {name}")).collect()
    };
    holds(rule, &[&[INGRESS_ON_WORKER]]);
}
