//! Which servers are accepted, asked through the driver: a fake server answers `hello` like the real one.

use std::io;

use mongodb::bson::Document;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Opcodes of the wire protocol.
const OP_REPLY: i32 = 1;
const OP_MSG: i32 = 2013;

/// A server that answers every command with `hello`; returns its address.
async fn server_that_answers(hello: Document) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream, hello.clone()));
        }
    });
    address
}

async fn answer_all(mut stream: TcpStream, hello: Document) -> io::Result<()> {
    loop {
        let mut header = [0; 16];
        stream.read_exact(&mut header).await?;
        let field = |at: usize| i32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let mut body = vec![0; usize::try_from(field(0)).unwrap() - header.len()];
        stream.read_exact(&mut body).await?;
        let document = hello.to_vec().unwrap();
        // The handshake of a connection uses the older OP_QUERY.
        let (opcode, prefix) = if field(12) == OP_MSG {
            (OP_MSG, vec![0; 5])
        } else {
            let counted_one = [[0; 16].as_slice(), &1_i32.to_le_bytes()].concat();
            (OP_REPLY, counted_one)
        };
        let length = i32::try_from(header.len() + prefix.len() + document.len()).unwrap();
        let numbers = [length, 1, field(4), opcode].map(i32::to_le_bytes).concat();
        stream.write_all(&[numbers, prefix, document].concat()).await?;
    }
}

fn hello(kind: Document) -> Document {
    let mut hello = doc! {
        "ok": 1, "isWritablePrimary": true, "ismaster": true, "helloOk": true, "minWireVersion": 0,
        "maxWireVersion": 21, "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
    };
    hello.extend(kind);
    hello
}

async fn refusal(kind: Document, parameters: &str) -> RefusalReason {
    let address = server_that_answers(hello(kind)).await;
    let connection = Connection::new(&format!("mongodb://{address}/{parameters}"), "aegis").await.unwrap();
    match check_server(&connection).await {
        Err(StoreError::Refused(reason)) => reason,
        other => panic!("expected `Refused`, got {other:?}"),
    }
}

#[tokio::test]
async fn router_of_a_sharded_cluster_is_refused() {
    for parameters in ["", "?replicaSet=rs0"] {
        let reason = refusal(doc! { "msg": "isdbgrid" }, parameters).await;
        assert!(matches!(reason, RefusalReason::ShardedCluster { .. }), "{reason:?}");
        assert!(reason.to_string().contains("URL of a replica set"), "{reason}");
    }
}

#[tokio::test]
async fn standalone_server_is_refused() {
    for parameters in ["", "?replicaSet=rs0"] {
        let reason = refusal(doc! {}, parameters).await;
        assert!(matches!(reason, RefusalReason::StandaloneServer { .. }), "{reason:?}");
    }
}

#[tokio::test]
async fn member_of_a_replica_set_is_accepted() {
    let address = server_that_answers(hello(doc! { "setName": "rs0", "msg": "" })).await;
    let url = format!("mongodb://{address}/?directConnection=true");
    check_server(&Connection::new(&url, "aegis").await.unwrap()).await.unwrap();
}
