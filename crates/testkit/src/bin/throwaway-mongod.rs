//! Starts a throwaway one-node replica set for experiments. Prints its URL and process id, and ends at the
//! end of standard input: `cargo run -p testkit`, then Ctrl-D.

use std::io::{Read, Write};

use testkit::MongodServer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = MongodServer::replica_set().await;
    writeln!(std::io::stdout(), "{}\n{}", server.url(), server.pid().unwrap_or_default())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
