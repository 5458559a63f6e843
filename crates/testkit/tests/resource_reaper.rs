//! No child process or data outlives the test process, even if it is killed.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn server_and_data_are_removed_when_the_owner_is_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_throwaway-mongod"))
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let url = lines.next().expect("the owner prints the URL of its server").unwrap();
    let address = url.trim_start_matches("mongodb://").split('/').next().unwrap();
    TcpStream::connect(address).expect("the server runs");
    assert_eq!(temporary.path().read_dir().unwrap().count(), 1);

    owner.kill().unwrap();
    owner.wait().unwrap();

    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() || temporary.path().read_dir().unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "the server or its data outlived its owner");
        std::thread::sleep(Duration::from_millis(20));
    }
}
