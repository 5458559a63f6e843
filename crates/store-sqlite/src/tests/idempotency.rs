use store::idempotency::expired_per_commit;

use super::*;

/// Stores records that expired long ago.
fn insert_expired(database: &Database, number: i64) {
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               INSERT INTO idempotency (key, request, stream, version, position, at)
               SELECT randomblob(32), randomblob(32), 'user-x', 1, 1, i FROM n";
    database.raw().execute(sql, [number]).unwrap();
}

fn count(database: &Database) -> usize {
    let raw = database.raw();
    let count: i64 = raw.query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test]
async fn each_commit_deletes_some_of_the_expired_records_until_none_is_left() {
    let database = Database::new();
    let (_sqlite, log) = database.open().await;
    insert_expired(&database, 1000);
    let step = expired_per_commit(1);
    for done in 1..=1000 / step + 2 {
        let name = format!("user-{done}");
        let key = log.idempotency_key(&[name.as_bytes()], &[b"request"]);
        log.append(&Append { idempotency: Some(key), ..registration(&name) }).await.unwrap();
        assert_eq!(count(&database), 1000_usize.saturating_sub(done * step) + done);
    }
}

#[tokio::test]
async fn expired_records_are_found_by_index() {
    let database = Database::new();
    let (_sqlite, _log) = database.open().await;
    let raw = database.raw();
    let sql = format!("EXPLAIN QUERY PLAN {}", crate::idempotency::DELETE_EXPIRED);
    let mut plan = raw.prepare(&sql).unwrap();
    let steps = plan.query_map([0, 1], |row| row.get::<_, String>(3)).unwrap();
    let steps: Vec<_> = steps.map(Result::unwrap).collect();
    assert!(!steps.iter().any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE")), "{steps:?}");
}
