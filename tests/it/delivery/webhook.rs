//! Delivery to a webhook: signed, in both formats, in order, at least once, through failures of the
//! receiver and kills of the daemon.

use std::net::TcpListener;
use std::time::SystemTime;

use crate::delivery::support::{
    Behaviour, CANARY, assert_in_order, change_features, journal, resident_kib, sink,
    start_receiver, wait_for_delivery,
};
use dossierd::core::time::Timestamp;

use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

#[test]
fn receiver_gets_the_journal_in_every_format() {
    for format in [
        "",
        "  format: envelope\n",
        "  gzip: true\n",
        "  batch: 7\n",
        "  batch: 7\n  format: envelope\n  gzip: true\n",
    ] {
        let receiver = start_receiver();
        let project = Project::complete().webhook(&receiver, format);
        let daemon = project.start_daemon();
        for text in ["a", "b", "c"] {
            change_features(&project, text);
            daemon.status();
        }
        let journal = wait_for_delivery(&daemon, &receiver);
        assert!(journal.len() > 10, "{format:?}: {}", journal.len());
        let before = receiver.received().duplicates;
        let requests = receiver.received().requests;
        assert_eq!(before, 0, "{format:?}: no event is delivered twice");
        assert_eq!(requests < journal.len() as u64, format.contains("batch"), "{format:?}");
        daemon.stop();
        // After a clean stop no event is delivered again.
        let daemon = project.start_daemon();
        change_features(&project, "d");
        wait_for_delivery(&daemon, &receiver);
        assert_eq!(receiver.received().duplicates, 0, "{format:?}");
        daemon.stop();
    }
}

#[test]
fn failing_receiver_gets_all_events_after_it_recovers() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirect = format!("location: http://{}/\r\n", elsewhere.local_addr().unwrap());
    wait_for_delivery(&daemon, &receiver);
    let before = resident_kib(&daemon);
    for (behaviour, error) in [
        (Behaviour::Respond(500, String::new()), "HTTP 500"),
        (Behaviour::Respond(429, "retry-after: 1\r\n".to_owned()), "HTTP 429"),
        (Behaviour::Respond(503, "retry-after: nonsense\r\n".to_owned()), "HTTP 503"),
        (Behaviour::Respond(302, redirect), "HTTP 302 Found: redirect not followed"),
        (Behaviour::Hang, "response timed out after 1000 ms"),
        (Behaviour::CloseAfterAccept, ""),
        (Behaviour::EndlessHead, ""),
        (Behaviour::EndlessInterim, "response timed out after 1000 ms"),
    ] {
        receiver.set_behaviour(behaviour.clone());
        change_features(&project, &format!("{behaviour:?}"));
        daemon.status();
        let found = wait_for(&format!("an error by {behaviour:?}: {}", sink(&daemon)), || {
            let sink = sink(&daemon);
            let last_error = sink["last_error"].as_str().unwrap_or_default();
            (sink["state"] == "retrying" && last_error.starts_with(error)).then_some(sink)
        });
        assert!(found["lag"].as_u64().unwrap() > 0, "{found:#}");
        assert!(found["oldest_undelivered_at"].is_string(), "{found:#}");
        // Changes are still indexed.
        change_features(&project, &format!("still {behaviour:?}"));
        assert_eq!(daemon.overview("002-y")["watch"], "live");
        receiver.set_behaviour(Behaviour::Accept);
        wait_for_delivery(&daemon, &receiver);
    }
    let lines = daemon.log().matches("delivery failed").count();
    assert!((1..4).contains(&lines), "at most one a minute: {}", daemon.log());
    // A 2xx status acknowledges the events, even if the body never ends.
    receiver.set_behaviour(Behaviour::EndlessBody);
    change_features(&project, "endless");
    wait_for_delivery(&daemon, &receiver);
    // What the last response took is returned to the kernel with a delay.
    wait_for(&format!("{before} KiB and at most 8 MiB more"), || {
        (resident_kib(&daemon) < before + 8 * 1024).then_some(())
    });
    let followed = elsewhere.accept().map(drop).unwrap_err();
    assert_eq!(followed.kind(), std::io::ErrorKind::WouldBlock, "no redirect is followed");
    daemon.stop();
}

#[test]
fn kill_between_response_and_acknowledgement_loses_no_event() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    for iteration in 0..10 {
        let daemon = project.start_daemon();
        let before = receiver.received().requests;
        // Every second daemon is killed with events that the receiver has stored, but not
        // acknowledged.
        receiver.set_behaviour(if iteration % 2 == 0 {
            Behaviour::CloseAfterAccept
        } else {
            Behaviour::Accept
        });
        change_features(&project, &format!("iteration {iteration}"));
        wait_for("a request", || (receiver.received().requests > before + 1).then_some(()));
        daemon.kill();
    }
    receiver.set_behaviour(Behaviour::Accept);
    let daemon = project.start_daemon();
    wait_for_delivery(&daemon, &receiver);
    assert!(receiver.received().duplicates > 0, "unacknowledged events are delivered again");
    daemon.stop();
}

#[test]
fn receiver_that_is_missing_during_a_deployment_gets_all_events() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    for status in [404, 405, 410] {
        receiver.set_behaviour(Behaviour::Respond(status, String::new()));
        let daemon = project.start_daemon();
        change_features(&project, &format!("while it answers {status}"));
        let before = receiver.received().requests;
        // More requests than an event that is refused permanently gets.
        wait_for("many requests", || (receiver.received().requests > before + 12).then_some(()));
        let found = sink(&daemon);
        assert_eq!((&found["state"], &found["dead_letters"]), (&"retrying".into(), &0.into()));
        assert!(found["last_error"].as_str().unwrap().contains(&status.to_string()), "{found:#}");
        receiver.set_behaviour(Behaviour::Accept);
        wait_for_delivery(&daemon, &receiver);
        assert_eq!(sink(&daemon)["dead_letters"], 0);
        daemon.stop();
    }
}

#[test]
fn permanently_rejected_event_is_dead_lettered_until_retried_or_dropped() {
    let receiver = start_receiver();
    receiver.set_behaviour(Behaviour::RejectFeature(FEATURE.to_owned()));
    let project = Project::complete().webhook(&receiver, "");
    project.write("kitty-specs/002-y/spec.md", "other");
    let daemon = project.start_daemon();
    let feature_events = || {
        let events = journal(&daemon);
        events.iter().filter(|event| event["feature_slug"] == FEATURE).count() as u64
    };
    // All events are in the journal.
    daemon.status();
    let rejected = wait_for("all events of the feature to be dead letters", || {
        let sink = sink(&daemon);
        (sink["state"] == "dead_letters" && sink["lag"] == 0).then_some(sink)
    });
    assert_eq!(rejected["dead_letters"], feature_events(), "{rejected:#}");
    assert!(receiver.received().events.iter().all(|event| event["feature_slug"] == "002-y"));
    assert!(!receiver.received().events.is_empty(), "events of other features are delivered");

    let list = project.run_client(&["delivery", "list", "--json"]).assert_success().stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let events = list["dead_letters"].as_array().unwrap();
    assert_eq!(events.len() as u64, feature_events());
    assert_eq!((&events[0]["tries"], &events[0]["retrying"]), (&5.into(), &false.into()));
    assert_eq!(events[0]["error"], "HTTP 400 Bad Request");
    let text = project.run_client(&["delivery", "list"]).assert_success().stdout;
    assert!(text.contains("dead letters") && text.contains("HTTP 400"), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    let status = project.run_client(&["status"]).assert_success().stdout;
    let expected = format!("{} dead letters; run `dossierd delivery list`\n", feature_events());
    assert!(status.contains(&expected) && !status.contains("CANARY"), "{status}");

    // After a restart the dead letters still exist, and are not sent again.
    daemon.stop();
    let daemon = project.start_daemon();
    let requests = receiver.received().requests;
    wait_for("the dead letters after the restart", || {
        (sink(&daemon)["dead_letters"] == events.len()).then_some(())
    });
    assert_eq!(receiver.received().requests, requests);

    let first = events[0]["event_id"].as_str().unwrap();
    project.run_client(&["delivery", "drop", first]).assert_success();
    receiver.set_behaviour(Behaviour::Accept);
    project.run_client(&["delivery", "retry", "--all"]).assert_success();
    wait_for("the other dead letters to be delivered", || {
        let sink = sink(&daemon);
        (sink["dead_letters"] == 0 && sink["state"] == "ok").then_some(())
    });
    let deliveries = receiver.received();
    assert!(
        deliveries.events.iter().all(|event| event["event_id"] != *first),
        "the dropped event is not delivered"
    );
    assert_eq!(deliveries.events.len(), journal(&daemon).len() - 1);
    assert_in_order(&deliveries.events);
    drop(deliveries);
    daemon
        .request("POST", "/api/delivery/drop", "{\"ids\": [\"x\"]}")
        .assert_problem(404, "not_found");
    daemon.request("POST", "/api/delivery/retry", "{}").assert_problem(400, "bad_request");
    daemon.stop();
}

#[test]
fn retry_after_is_capped_at_a_day_and_delivery_retry_skips_it() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    for retry_after in ["99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        receiver.set_behaviour(Behaviour::Respond(429, format!("retry-after: {retry_after}\r\n")));
        change_features(&project, retry_after);
        let day = 24 * 60 * 60 * 1_000;
        let wait_ms = wait_for("a pause", || {
            let next: Timestamp =
                serde_json::from_value(sink(&daemon)["next_try_at"].clone()).ok()?;
            let wait_ms = next.as_millis() - Timestamp::from(SystemTime::now()).as_millis();
            (wait_ms > day / 2).then_some(wait_ms)
        });
        assert!(wait_ms <= day, "{retry_after}: {wait_ms} ms");
        let status = project.run_client(&["status"]).assert_success().stdout;
        assert!(status.contains("retrying: HTTP 429"), "{status}");
        receiver.set_behaviour(Behaviour::Accept);
        project.run_client(&["delivery", "retry", "--all"]).assert_success();
        wait_for_delivery(&daemon, &receiver);
        let status = project.run_client(&["status"]).assert_success().stdout;
        assert!(!status.contains("webhook"), "{status}");
    }
    daemon.stop();
}

#[test]
fn secret_is_visible_nowhere() {
    let receiver = start_receiver();
    receiver.set_behaviour(Behaviour::Respond(500, String::new()));
    let project = Project::complete().webhook(&receiver, "").env("DOSSIERD_LOG", "trace");
    let daemon = project.start_daemon();
    wait_for("a failed request", || (sink(&daemon)["state"] == "retrying").then_some(()));
    receiver.set_behaviour(Behaviour::Respond(400, String::new()));
    wait_for("a dead letter", || (sink(&daemon)["dead_letters"].as_u64()? > 0).then_some(()));
    let mut outputs: Vec<String> =
        ["/api/status", "/api/delivery", "/metrics", "/api/openapi.json"]
            .iter()
            .map(|address| daemon.get(address).body)
            .collect();
    assert!(outputs[2].contains("dossierd_delivery_dead_letters"), "{}", outputs[2]);
    outputs.push(project.run_client(&["delivery", "list"]).assert_success().stdout);
    outputs.push(project.run_client(&["status", "--json"]).assert_success().stdout);
    outputs.push(daemon.log());
    // A secret file that other users can read is rejected and reported.
    let secret = project.home().join("secret");
    daemon.stop();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&secret, mode).unwrap();
    let daemon = project.start_daemon();
    change_features(&project, "something to send");
    wait_for("the file to be rejected", || {
        let error = sink(&daemon)["last_error"].clone();
        error.as_str().is_some_and(|error| error.contains("chmod 600")).then_some(())
    });
    outputs.push(daemon.get("/api/status").body);
    outputs.push(daemon.log());
    // After the permissions are fixed, delivery continues without a restart.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    receiver.set_behaviour(Behaviour::Accept);
    wait_for("delivery to continue", || {
        let deliveries = receiver.received();
        deliveries.events.iter().any(|event| event["feature_slug"] == "002-y").then_some(())
    });
    outputs.push(daemon.log());
    let store = std::fs::read(project.state_dir().join("dossierd.sqlite3")).unwrap();
    outputs.push(String::from_utf8_lossy(&store).into_owned());
    daemon.stop();
    for text in &outputs {
        assert!(!text.contains("CANARY") && !text.contains(CANARY), "{text}");
    }
}
