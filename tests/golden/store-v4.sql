PRAGMA application_id = 1685025651;
PRAGMA user_version = 4;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    instance TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    clean INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    durable_seq INTEGER NOT NULL,
    last_event_ms INTEGER NOT NULL,
    journal_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES(1,'ce9329b2-2c59-4585-8d1c-5fbe79084e18','6d1f',1,0,3,3,1700000000004,1531);
CREATE TABLE project (
    root BLOB PRIMARY KEY,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO project VALUES(X'2f686f6d652f70',1700000000000);
CREATE TABLE feature (
    id INTEGER PRIMARY KEY,
    root_id TEXT NOT NULL,
    slug TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    absent TEXT,
    announced TEXT,
    gone_since INTEGER, dir BLOB, mounts TEXT,
    UNIQUE (root_id, slug)
) STRICT;
INSERT INTO feature VALUES(1,'0123456789abcdef','001-first',1700000000000,1700000000004,'["plan"]','{"snapshot_id":"6a9c","snapshot":"043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89","drift":"18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4"}',NULL,X'6b697474792d73706563732f3030312d6669727374','{"kitty-specs":1}');
INSERT INTO feature VALUES(2,'0123456789abcdef','002-second',1700000000000,1700000000000,NULL,NULL,1700000000002,NULL,NULL);
INSERT INTO feature VALUES(3,'0123456789abcdef','003-third',1700000000000,1700000000000,NULL,NULL,NULL,X'',NULL);
CREATE TABLE artifact (
    feature INTEGER NOT NULL,
    path BLOB NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    wp_id TEXT,
    step_id TEXT,
    status TEXT NOT NULL,
    size INTEGER NOT NULL,
    hash BLOB,
    static_hash BLOB,
    reason TEXT,
    detail TEXT,
    indexed_at INTEGER NOT NULL,
    file_size INTEGER,
    modified_ns INTEGER,
    changed_ns INTEGER,
    inode INTEGER,
    device INTEGER,
    racy INTEGER NOT NULL,
    PRIMARY KEY (feature, path)
) STRICT, WITHOUT ROWID;
INSERT INTO artifact VALUES(1,X'626164ff','bad','other',NULL,'plan','required',7,NULL,NULL,'unreadable','Permission denied (os error 13)',1700000000001,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO artifact VALUES(1,X'737065632e6d64','spec.md','output',NULL,'plan','required',7,X'bc6661da34ecae62fbe724bb93fd69b91a7f81143f2683a81163231de7e3b545',NULL,NULL,NULL,1700000000001,7,-1,1771668000123456789,-1,66305,1);
INSERT INTO artifact VALUES(1,X'7461736b732f575030312e6d64','tasks.WP01.md','output','WP01',NULL,'optional',7,X'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb',X'3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d',NULL,NULL,1700000000001,NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE tombstone (
    feature INTEGER NOT NULL,
    path BLOB NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    wp_id TEXT,
    step_id TEXT,
    status TEXT NOT NULL,
    size INTEGER NOT NULL,
    hash BLOB,
    static_hash BLOB,
    reason TEXT,
    detail TEXT,
    indexed_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (feature, path)
) STRICT, WITHOUT ROWID;
INSERT INTO tombstone VALUES(1,X'676f6e652e6d64','gone.md','output',NULL,'plan','required',7,NULL,NULL,'deleted_after_scan',NULL,1700000000001,3);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    emitted_at INTEGER NOT NULL,
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    type TEXT NOT NULL,
    envelope TEXT NOT NULL
) STRICT;
INSERT INTO event VALUES(1,1700000000000,'0123456789abcdef','001-first','mission_dossier_artifact_indexed','{"event_id":"01HF7YAT00CHF7R06RJVWGENCG","seq":1,"event_type":"mission_dossier_artifact_indexed","project":"p","root_id":"0123456789abcdef","project_uuid":"u","node_id":"n","feature_slug":"001-first","emitted_at":"2023-11-14T22:13:20.000Z","payload":{"feature_slug":"001-first","artifact_key":"spec.md","artifact_class":"output","relative_path":"spec.md","content_hash_sha256":"bc6661da34ecae62fbe724bb93fd69b91a7f81143f2683a81163231de7e3b545","size_bytes":7,"wp_id":null,"step_id":null,"required_status":"required","change":"added"}}');
INSERT INTO event VALUES(2,1700000000000,'0123456789abcdef','001-first','mission_dossier_artifact_indexed','{"event_id":"01HF7YAT00CHF7R06RJVWGENCH","seq":2,"event_type":"mission_dossier_artifact_indexed","project":"p","root_id":"0123456789abcdef","project_uuid":"u","node_id":"n","feature_slug":"001-first","emitted_at":"2023-11-14T22:13:20.000Z","payload":{"feature_slug":"001-first","artifact_key":"gone.md","artifact_class":"output","relative_path":"gone.md","content_hash_sha256":"6d3cfd6c9fa96768c8f0de3e0e9b1038fde79b80d7dd7c28417586a688217b02","size_bytes":7,"wp_id":null,"step_id":null,"required_status":"required","change":"added"}}');
INSERT INTO event VALUES(3,1700000000004,'0123456789abcdef','001-first','mission_dossier_artifact_missing','{"event_id":"01HF7YAT045V69RHXJS1ST0916","seq":3,"event_type":"mission_dossier_artifact_missing","project":"p","root_id":"0123456789abcdef","project_uuid":"u","node_id":"n","feature_slug":"001-first","emitted_at":"2023-11-14T22:13:20.004Z","payload":{"feature_slug":"001-first","artifact_key":"gone.md","artifact_class":"output","expected_path_pattern":"gone.md","reason_code":"deleted_after_scan","reason_detail":null,"blocking":false,"relative_path":"gone.md"}}');
CREATE TABLE cursor (
    sink TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
, dropped INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
INSERT INTO cursor VALUES('webhook',2,7);
CREATE TABLE IF NOT EXISTS "dead_letters" (
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    root_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    tries INTEGER NOT NULL,
    refused_at INTEGER NOT NULL,
    error TEXT NOT NULL,
    retry INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO dead_letters VALUES('webhook',2,'01HF7YAT00CHF7R06RJVWGENCH','mission_dossier_artifact_indexed','0123456789abcdef','001-first',5,1700000009000,'answered 400 Bad Request',0,'{"event_id":"01HF7YAT00CHF7R06RJVWGENCH","seq":2,"event_type":"mission_dossier_artifact_indexed","project":"p","root_id":"0123456789abcdef","project_uuid":"u","node_id":"n","feature_slug":"001-first","emitted_at":"2023-11-14T22:13:20.000Z","payload":{"feature_slug":"001-first","artifact_key":"gone.md","artifact_class":"output","relative_path":"gone.md","content_hash_sha256":"6d3cfd6c9fa96768c8f0de3e0e9b1038fde79b80d7dd7c28417586a688217b02","size_bytes":7,"wp_id":null,"step_id":null,"required_status":"required","change":"added"}}');
CREATE INDEX tombstone_seq ON tombstone (seq);
COMMIT;
