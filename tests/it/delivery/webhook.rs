//! Events reach a webhook: signed, in the two formats, in order, each at least once, whatever the
//! receiver does, and through kills.

use std::net::TcpListener;
use std::time::SystemTime;

use crate::delivery::support::{
    CANARY, Mood, change, delivered, in_order, journal, memory, receiver, sink,
};
use dossierd::core::time::Timestamp;

use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

#[test]
fn a_receiver_gets_the_journal_in_every_form() {
    for form in [
        "",
        "  format: envelope\n",
        "  gzip: true\n",
        "  batch: 7\n",
        "  batch: 7\n  format: envelope\n  gzip: true\n",
    ] {
        let receiver = receiver();
        let project = Project::complete().webhook(&receiver, form);
        let daemon = project.start_daemon();
        for text in ["a", "b", "c"] {
            change(&project, text);
            daemon.status();
        }
        let journal = delivered(&daemon, &receiver);
        assert!(journal.len() > 10, "{form:?}: {}", journal.len());
        let before = receiver.kept().again;
        let requests = receiver.kept().requests;
        assert_eq!(before, 0, "{form:?}: nothing came twice");
        assert_eq!(requests < journal.len() as u64, form.contains("batch"), "{form:?}");
        daemon.stop();
        // A clean stop leaves nothing to be said again.
        let daemon = project.start_daemon();
        change(&project, "d");
        delivered(&daemon, &receiver);
        assert_eq!(receiver.kept().again, 0, "{form:?}");
        daemon.stop();
    }
}

#[test]
fn a_receiver_that_misbehaves_gets_everything_when_it_is_well() {
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let away = format!("location: http://{}/\r\n", elsewhere.local_addr().unwrap());
    delivered(&daemon, &receiver);
    let before = memory(&daemon);
    for (mood, why) in [
        (Mood::Answer(500, String::new()), "answered 500"),
        (Mood::Answer(429, "retry-after: 1\r\n".to_owned()), "answered 429"),
        (Mood::Answer(503, "retry-after: nonsense\r\n".to_owned()), "answered 503"),
        (Mood::Answer(302, away), "answered 302 Found, not followed"),
        (Mood::Hang, "no answer within 1000 ms"),
        (Mood::Break, ""),
        (Mood::EndlessHead, ""),
        (Mood::Soon, "no answer within 1000 ms"),
    ] {
        receiver.turn(mood.clone());
        change(&project, &format!("{mood:?}"));
        daemon.status();
        let found = wait_for(&format!("{mood:?} is seen: {}", sink(&daemon)), || {
            let sink = sink(&daemon);
            let error = sink["last_error"].as_str().unwrap_or_default();
            (sink["state"] == "retrying" && error.starts_with(why)).then_some(sink)
        });
        assert!(found["lag"].as_u64().unwrap() > 0, "{found:#}");
        assert!(found["oldest_undelivered_at"].is_string(), "{found:#}");
        // Whoever works goes on meanwhile.
        change(&project, &format!("{mood:?} still"));
        assert_eq!(daemon.overview("002-y")["watch"], "live");
        receiver.turn(Mood::Good);
        delivered(&daemon, &receiver);
    }
    // What is said to be taken is taken, whatever comes after it.
    receiver.turn(Mood::Endless);
    change(&project, "endless");
    delivered(&daemon, &receiver);
    let after = memory(&daemon);
    assert!(after < before + 8 * 1024, "{before} KiB before, {after} KiB after");
    let followed = elsewhere.accept().map(drop).unwrap_err();
    assert_eq!(followed.kind(), std::io::ErrorKind::WouldBlock, "no redirect is followed");
    daemon.stop();
}

#[test]
fn a_kill_between_the_answer_and_the_note_loses_nothing() {
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    for round in 0..10 {
        let daemon = project.start_daemon();
        let before = receiver.kept().requests;
        // Every second one dies with events that the receiver has kept and not acknowledged.
        receiver.turn(if round % 2 == 0 { Mood::Break } else { Mood::Good });
        change(&project, &format!("round {round}"));
        wait_for("something is sent", || (receiver.kept().requests > before + 1).then_some(()));
        daemon.kill();
    }
    receiver.turn(Mood::Good);
    let daemon = project.start_daemon();
    delivered(&daemon, &receiver);
    assert!(receiver.kept().again > 0, "what was not acknowledged came again");
    daemon.stop();
}

#[test]
fn what_is_refused_for_good_waits_for_a_person() {
    let receiver = receiver();
    receiver.turn(Mood::Refuse(FEATURE.to_owned()));
    let project = Project::complete().webhook(&receiver, "");
    project.write("kitty-specs/002-y/spec.md", "other");
    let daemon = project.start_daemon();
    let of_feature = || {
        let events = journal(&daemon);
        events.iter().filter(|event| event["feature_slug"] == FEATURE).count() as u64
    };
    let refused = wait_for("all of it is set aside", || {
        let sink = sink(&daemon);
        (sink["state"] == "set_aside" && sink["lag"] == 0).then_some(sink)
    });
    assert_eq!(refused["set_aside"], of_feature(), "{refused:#}");
    assert!(receiver.kept().events.iter().all(|event| event["feature_slug"] == "002-y"));
    assert!(!receiver.kept().events.is_empty(), "others go on");

    let list = project.run_client(&["delivery", "list", "--json"]).assert_success().stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let events = list["set_aside"].as_array().unwrap();
    assert_eq!(events.len() as u64, of_feature());
    assert_eq!((&events[0]["tries"], &events[0]["retrying"]), (&5.into(), &false.into()));
    assert_eq!(events[0]["error"], "answered 400 Bad Request");
    let text = project.run_client(&["delivery", "list"]).assert_success().stdout;
    assert!(text.contains("set aside") && text.contains("answered 400"), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    let status = project.run_client(&["status"]).assert_success().stdout;
    let said = format!("{} set aside; dossierd delivery list\n", of_feature());
    assert!(status.contains(&said) && !status.contains("CANARY"), "{status}");

    // It survives a restart, and is not sent again unasked.
    daemon.stop();
    let daemon = project.start_daemon();
    let requests = receiver.kept().requests;
    wait_for("it is remembered", || (sink(&daemon)["set_aside"] == events.len()).then_some(()));
    assert_eq!(receiver.kept().requests, requests);

    let first = events[0]["event_id"].as_str().unwrap();
    project.run_client(&["delivery", "drop", first]).assert_success();
    receiver.turn(Mood::Good);
    project.run_client(&["delivery", "retry", "--all"]).assert_success();
    wait_for("the rest is delivered", || {
        let sink = sink(&daemon);
        (sink["set_aside"] == 0 && sink["state"] == "ok").then_some(())
    });
    let kept = receiver.kept();
    assert!(kept.events.iter().all(|event| event["event_id"] != *first), "it was dropped");
    assert_eq!(kept.events.len(), journal(&daemon).len() - 1);
    in_order(&kept.events);
    drop(kept);
    daemon
        .request("POST", "/api/delivery/drop", "{\"ids\": [\"x\"]}")
        .assert_problem(404, "not_found");
    daemon.request("POST", "/api/delivery/retry", "{}").assert_problem(400, "bad_request");
    daemon.stop();
}

#[test]
fn a_receiver_that_asks_for_an_age_gets_a_day_and_a_person_is_quicker() {
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    for asked in ["99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        receiver.turn(Mood::Answer(429, format!("retry-after: {asked}\r\n")));
        change(&project, asked);
        let day = 24 * 60 * 60 * 1_000;
        let wait_ms = wait_for("a pause", || {
            let next: Timestamp =
                serde_json::from_value(sink(&daemon)["next_try_at"].clone()).ok()?;
            let wait_ms = next.as_millis() - Timestamp::from(SystemTime::now()).as_millis();
            (wait_ms > day / 2).then_some(wait_ms)
        });
        assert!(wait_ms <= day, "{asked}: {wait_ms} ms");
        let status = project.run_client(&["status"]).assert_success().stdout;
        assert!(status.contains("tried again: answered 429"), "{status}");
        receiver.turn(Mood::Good);
        project.run_client(&["delivery", "retry", "--all"]).assert_success();
        delivered(&daemon, &receiver);
        let status = project.run_client(&["status"]).assert_success().stdout;
        assert!(!status.contains("webhook"), "{status}");
    }
    daemon.stop();
}

#[test]
fn a_secret_is_seen_nowhere() {
    let receiver = receiver();
    receiver.turn(Mood::Answer(500, String::new()));
    let project = Project::complete().webhook(&receiver, "").env("DOSSIERD_LOG", "trace");
    let daemon = project.start_daemon();
    wait_for("a failure", || (sink(&daemon)["state"] == "retrying").then_some(()));
    receiver.turn(Mood::Answer(400, String::new()));
    wait_for("a refusal", || (sink(&daemon)["set_aside"].as_u64()? > 0).then_some(()));
    let mut seen: Vec<String> = ["/api/status", "/api/delivery", "/metrics", "/api/openapi.json"]
        .iter()
        .map(|address| daemon.get(address).body)
        .collect();
    assert!(seen[2].contains("dossierd_delivery_set_aside"), "{}", seen[2]);
    seen.push(project.run_client(&["delivery", "list"]).assert_success().stdout);
    seen.push(project.run_client(&["status", "--json"]).assert_success().stdout);
    seen.push(daemon.log());
    // A file that others may read is refused, and said.
    let secret = project.home().join("secret");
    daemon.stop();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&secret, mode).unwrap();
    let daemon = project.start_daemon();
    change(&project, "something to send");
    wait_for("the file is refused", || {
        let error = sink(&daemon)["last_error"].clone();
        error.as_str().is_some_and(|error| error.contains("chmod 600")).then_some(())
    });
    seen.push(daemon.get("/api/status").body);
    seen.push(daemon.log());
    // Mended while it runs: it goes on by itself.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    receiver.turn(Mood::Good);
    wait_for("it goes on", || {
        let kept = receiver.kept();
        kept.events.iter().any(|event| event["feature_slug"] == "002-y").then_some(())
    });
    seen.push(daemon.log());
    let store = std::fs::read(project.state_dir().join("dossierd.sqlite3")).unwrap();
    seen.push(String::from_utf8_lossy(&store).into_owned());
    daemon.stop();
    for text in &seen {
        assert!(!text.contains("CANARY") && !text.contains(CANARY), "{text}");
    }
}
