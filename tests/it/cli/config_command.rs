//! `dossierd config`: the effective configuration, errors and warnings, and the example.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use crate::support::wait::wait_for;
use crate::support::{Project, write_file};

#[test]
fn show_prints_the_effective_configuration() {
    let project = Project::complete();
    let shown = project.run(&["config", "show"]).assert_success();
    assert!(shown.stderr.contains("does not exist; these are the defaults"), "{shown:?}");
    assert_snapshot!(shown.stdout, @"
    projects: []
    ignore_defaults: true
    limits:
      file_bytes: 4294967296
      entries: 1000000
      depth: 1000
    settle:
      appear_ms: 50
      quiet_ms: 50
      max_ms: 500
      vanish_ms: 100
      git_ms: 2000
    http:
      listen: off
      allow_root: false
    journal:
      max_age: 30d
      max_bytes: 256 MiB
    history:
      enabled: true
      max_bytes: 256 MiB
      max_file: 1 MiB
      max_age: 90d
      exclude:
      - '**/.env*'
      - '**/*secret*'
      - '**/*.pem'
      - '**/*.key'
      runtime: false
    log: info
    scrub: 1d
    ");
    let project = project.config("projects: [{path: ROOT, ignore: ['*.tmp']}]\nscrub: off\n");
    let shown = project.run(&["config", "show", "--json"]).assert_success().json();
    assert_eq!(shown["projects"][0]["path"], project.root.to_str().unwrap());
    assert_eq!(shown["projects"][0]["ignore"], json!(["*.tmp"]));
    assert_eq!(shown["projects"][0]["features"], json!(["kitty-specs/*"]));
    assert_eq!((&shown["scrub"], &shown["limits"]["depth"]), (&json!("off"), &json!(1000)));
    // The output is itself a configuration with the same effect.
    let text = project.run(&["config", "show"]).assert_success().stdout;
    let again = project.home().join("again.yaml");
    write_file(&again, text.as_bytes());
    assert_eq!(
        project.run(&["config", "show", again.to_str().unwrap()]).assert_success().stdout,
        text
    );
}

#[test]
fn path_and_init_use_the_configuration_directory() {
    let project = Project::complete();
    let path = project.run(&["config", "path"]).assert_success();
    assert_eq!(project.redact_paths(&path.stdout), "HOME/.config/dossierd/config.yaml\n");
    let init = project.run(&["config", "init"]).assert_success();
    assert_snapshot!(project.redact_paths(&init.stdout), @"
    wrote HOME/.config/dossierd/config.example.yaml
    dossierd reads only HOME/.config/dossierd/config.yaml: list there the settings you want to change
    ");
    assert!(!project.config_file().exists(), "`config.yaml` is never written");
    let example = project.config_file().with_file_name("config.example.yaml");
    let checked = project.run(&["config", "check", example.to_str().unwrap()]).assert_success();
    assert!(checked.stdout.contains("is valid"), "{checked:?}");
    // An older example is replaced; `config.yaml` is unchanged.
    fs::write(&example, "old").unwrap();
    let project = project.config("scrub: off\n");
    project.run(&["config", "init"]).assert_success();
    assert!(fs::read_to_string(&example).unwrap().contains("max_age: 30d"));
    assert_eq!(fs::read_to_string(project.config_file()).unwrap(), "scrub: off\n");
    assert!(project.run(&["config", "init"]).assert_success().stdout.contains("is up to date"));
}

#[test]
fn check_reports_each_error_with_its_location() {
    let mut errors = String::new();
    for text in [
        "projets: []\n",
        "projects:\n  - path: /srv/shop\n    featurs: [x]\n",
        "projects:\n  - {features: [x]}\n",
        "projects:\n  - {path: here}\n",
        "projects:\n  - {path: /srv/shop, features: [../x]}\n",
        "projects:\n  - {path: /srv/shop, mission: a/b}\n",
        "projects:\n  - {path: /srv/shop, step: [plan]}\n",
        "limits: {depth: -1}\n",
        "settle:\n  quiet: 1\n",
        "journal:\n  max_age: soon\n",
        "journal: {max_bytes: 1 TB}\n",
        "log: loud\n",
        "log: info,dossierd=loud\n",
        "scrub: 0d\n",
        "projects: []\nprojects: []\n",
        "projects: [\n",
        "- 1\n",
        "x: \u{1b}[31m\n",
        "limits: {deep: 1}\n",
        "limits: {entries: many}\n",
        "settle: {max_ms: 1, max_ms: 2}\n",
        "projects:\n  - {path: /srv/shop, step: {001-a: plan, 001-a: specify}}\n",
        "projects:\n  - path: /srv/shop\n    path: /srv/shop\n",
        "projects:\n  - {path: /srv/shop, ignore: [/x]}\n",
        "projects:\n  - {path: /srv/shop, ignore: ['a[']}\n",
        "projects:\n  - {path: /srv/shop, features: kitty-specs/*}\n",
        "projects: {path: /srv/shop}\n",
        "projects:\n  - /srv/shop\n",
        "projects:\n\t- x\n",
        "http: {listen: 0.0.0.0:80}\n",
        "http: {listen: localhost}\n",
        "http: {listen: '127.0.0.1:0'}\n",
        "http: off\n",
        "http: {liste: off}\n",
        "journal: {max_byte: 1}\n",
        "log: [info]\n",
        "scrub: often\n",
        "webhook: {secret_env: A}\n",
        "log: info\nwebhook:\n  url: https://e.org/h\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  secret_file: /x\n",
        "webhook:\n  url: http://e.org/h\n  secret_env: A\n",
        "webhook:\n  url: ftp://e.org/h\n  secret_env: A\n",
        "webhook:\n  url: https://u:CANARY@e.org/h\n  secret_env: A\n",
        "webhook: https://e.org/CANARY\n",
        "webhook:\n  url: https://e.org/h\n  secret: whsec_CANARY\n",
        "webhook:\n  url: https://e.org/h\n  secret_file: whsec_CANARY\n",
        "webhook:\n  url: https://e.org/h\n  secret_file: hook.secret\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: whsec_CANARY\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  format: cloud\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  batch: 0\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  connections: CANARY\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  gzip: maybe\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  timeout: 1h\n",
        "webhook:\n  url: https://e.org/h\n  secret_env: A\n  backoff: {first: 1}\n",
        "projects: []\n---\nlog: info\n",
        "log: *x\n",
        "log: \"info\n",
        "? [a]\n: b\n",
        "\u{feff}setle: 1\n",
    ] {
        let project = Project::complete().config(text);
        let run = project.run(&["config", "check"]);
        assert_eq!((run.code, run.stdout.as_str()), (78, ""), "{run:?}");
        assert!(!run.stderr.contains("CANARY"), "a secret is shown: {run:?}");
        errors.push_str(&project.redact_paths(&run.stderr));
        let json = project.run(&["config", "check", "--json"]);
        assert_eq!((json.code, &json.json()["state"]), (78, &json!("broken")), "{json:?}");
        // The daemon does not start, and reports the same error.
        let daemon = project.run(&["run"]);
        assert_eq!((daemon.code, daemon.stderr), (78, run.stderr));
    }
    assert_snapshot!(errors.replace("HOME/.config/dossierd/", ""), @r#"
    error: config.yaml:1:1: unknown field `projets`, expected one of `projects`, `ignore_defaults`, `limits`, `settle`, `http`, `journal`, `history`, `log`, `scrub`, `webhook`; did you mean `projects`?
    error: config.yaml:3:5: projects[0]: unknown field `featurs`, expected one of `path`, `features`, `mission`, `step`, `ignore`, `ignore_defaults`; did you mean `features`?
    error: config.yaml:2:5: projects[0]: missing field `path`
    error: config.yaml:2:12: projects[0].path: `here` is not absolute; begin it with `/` or `~/`
    error: config.yaml:2:34: projects[0].features[0]: invalid pattern `../x`: the path has a `..` component; it must stay below the feature directory
    error: config.yaml:2:32: projects[0].mission: invalid mission type `a/b`; use letters, digits, `_` and `-`
    error: config.yaml:2:29: projects[0].step: invalid type: sequence, expected a map
    error: config.yaml:1:17: limits.depth: invalid type: integer `-1`, expected a whole number
    error: config.yaml:2:3: settle: unknown field `quiet`, expected one of `appear_ms`, `quiet_ms`, `max_ms`, `vanish_ms`, `git_ms`; did you mean `quiet_ms`?
    error: config.yaml:2:12: journal.max_age: invalid duration `soon`; write a number and `s`, `m`, `h` or `d`, such as `30d`
    error: config.yaml:1:22: journal.max_bytes: invalid size `1 TB`; write a number of bytes, or a number with `KiB`, `MiB` or `GiB`
    error: config.yaml:1:6: log: invalid log filter `loud`; write error, warn, info, debug, trace or off, also by module, such as `warn,dossierd::engine=debug`
    error: config.yaml:1:6: log: invalid log filter `info,dossierd=loud`; write error, warn, info, debug, trace or off, also by module, such as `warn,dossierd::engine=debug`
    error: config.yaml:1:8: scrub: invalid duration `0d`; write a number and `s`, `m`, `h` or `d`, such as `30d`, or `off`
    error: config.yaml:2:1: duplicate key `projects`
    error: config.yaml:2:1: did not find expected node content, while parsing a flow node
    error: config.yaml:1:1: invalid type: sequence, expected keys and values
    error: config.yaml:1:1: control characters are not allowed at position 3
    error: config.yaml:1:10: limits: unknown field `deep`, expected one of `file_bytes`, `entries`, `depth`
    error: config.yaml:1:19: limits.entries: invalid type: string "many", expected a whole number
    error: config.yaml:1:21: settle: duplicate key `max_ms`
    error: config.yaml:2:43: projects[0].step: duplicate key `001-a`
    error: config.yaml:3:5: projects[0]: duplicate key `path`
    error: config.yaml:2:32: projects[0].ignore[0]: invalid pattern `/x`: the path is absolute; use one relative to the feature directory
    error: config.yaml:2:32: projects[0].ignore[0]: invalid pattern `a[`: unclosed character class; missing ']'
    error: config.yaml:2:33: projects[0].features: invalid type: string "kitty-specs/*", expected a sequence
    error: config.yaml:1:11: projects: invalid type: map, expected a sequence
    error: config.yaml:2:5: projects[0]: invalid type: string "/srv/shop", expected keys and values
    error: config.yaml:2:1: found character that cannot start any token, while scanning for the next token
    error: config.yaml:1:16: http.listen: `0.0.0.0:80` is not a loopback address; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`
    error: config.yaml:1:16: http.listen: `localhost` is not an IP address with a port; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`
    error: config.yaml:1:16: http.listen: `127.0.0.1:0` has no valid port; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`
    error: config.yaml:1:7: http: invalid type: string "off", expected keys and values
    error: config.yaml:1:8: http: unknown field `liste`, expected `listen` or `allow_root`; did you mean `listen`?
    error: config.yaml:1:11: journal: unknown field `max_byte`, expected `max_age` or `max_bytes`; did you mean `max_bytes`?
    error: config.yaml:1:6: log: invalid type: sequence, expected a string
    error: config.yaml:1:8: scrub: invalid duration `often`; write a number and `s`, `m`, `h` or `d`, such as `30d`, or `off`
    error: config.yaml:1:10: webhook: missing field `url`
    error: config.yaml:3:3: webhook: missing `secret_file` or `secret_env`; one is required to sign requests
    error: config.yaml:2:3: webhook: both `secret_file` and `secret_env` are set; remove one
    error: config.yaml:2:8: webhook.url: `http://` is allowed for this machine only (`localhost`, `127.0.0.1`, `[::1]`); use `https://`
    error: config.yaml:2:8: webhook.url: unsupported URL scheme; begin the URL with `https://`
    error: config.yaml:2:8: webhook.url: remove the user name and password from the URL; requests are signed instead
    error: config.yaml:1:10: webhook: expected keys; write the URL as `url:`, and add `secret_file` or `secret_env`
    error: config.yaml:3:3: webhook: unknown field `secret`, expected one of `url`, `receiver_user`, `secret_file`, `secret_env`, `ca_file`, `format`, `batch`, `gzip`, `timeout`, `connections`, `backoff`
    error: config.yaml:3:16: webhook.secret_file: expected the path of a file, not a secret; write the secret to that file
    error: config.yaml:3:16: webhook.secret_file: the file's path is not absolute; begin it with `/` or `~/`
    error: config.yaml:3:15: webhook.secret_env: invalid name of an environment variable; use up to 64 of `A` to `Z`, `0` to `9` and `_`
    error: config.yaml:4:11: webhook.format: unknown variant `cloud`, expected `cloudevents` or `envelope`; did you mean `cloudevents`?
    error: config.yaml:4:10: webhook.batch: write a number from 1 to 1000
    error: config.yaml:4:16: webhook.connections: write a number from 1 to 64
    error: config.yaml:4:9: webhook.gzip: invalid type: string "maybe", expected a boolean
    error: config.yaml:4:12: webhook.timeout: the timeout is longer than 300s; write at most that
    error: config.yaml:4:13: webhook.backoff: unknown field `first`, expected `first_ms` or `most_ms`; did you mean `first_ms`?
    error: config.yaml:2:1: second document; only one is allowed
    error: config.yaml:1:6: unknown anchor
    error: config.yaml:2:1: found unexpected end of stream, while scanning a quoted scalar at line 1 column 6
    error: config.yaml:1:3: invalid type: sequence, expected a key
    error: config.yaml:1:2: unknown field `setle`, expected one of `projects`, `ignore_defaults`, `limits`, `settle`, `http`, `journal`, `history`, `log`, `scrub`, `webhook`; did you mean `settle`?
    "#);
}

#[test]
fn check_warns_about_settings_without_effect() {
    let project = Project::complete()
        .config("projects: [{path: ROOT}, {path: ROOT}, {path: /no/where, features: []}]\nsettle: {max_ms: 1}\n");
    let run = project.run(&["config", "check"]).assert_success();
    assert_snapshot!(project.redact_paths(&run.stderr), @"
    warning: projects[1]: ROOT is listed twice; only the first entry is used
    warning: projects[2]: /no/where does not exist or is not a directory
    warning: projects[2]: `features` is empty, so nothing is watched there
    warning: settle: max_ms is less than quiet_ms, which therefore has no effect
    ");
    project
        .run(&["config", "check", "nowhere.yaml"])
        .assert_failure(1, "nowhere.yaml does not exist");
}

#[test]
fn status_reports_an_invalid_configuration() {
    let project = Project::complete();
    let daemon = project.start_daemon();
    assert!(!project.run_client(&["status"]).assert_success().stderr.contains("configuration"));
    write_file(&project.config_file(), b"setle: {}\n");
    let stderr = wait_for("the invalid configuration to be reported", || {
        let run = project.run_client(&["status"]);
        assert_eq!(run.code, 78, "{run:?}");
        run.stderr.contains("invalid configuration").then_some(run.stderr)
    });
    assert!(stderr.contains("config.yaml:1:1: unknown field `setle`"), "{stderr}");
    daemon.stop();
}
