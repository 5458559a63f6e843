//! A one-node replica set in a Docker container.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::IntoContainerPort;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::time::timeout;

use crate::admin_connection::{AdminConnection, ServerRole};
use crate::environment_variables::variable;
use crate::error::{Error, in_one_line};
use crate::mongo_source::Image;
use crate::server::SET;

const PORT: u16 = 27017;
const ENGINE_DEADLINE: Duration = Duration::from_secs(5);
/// The first pull of the image is slow.
const CONTAINER_DEADLINE: Duration = Duration::from_mins(5);

/// Ends the container after 30 s without a connection from outside, because Docker does not notice that the
/// test process was killed. In `/proc/net/tcp`, `6989` is port 27017 and `01` means established.
const SCRIPT: &str = r#"
mongod --replSet "$1" --bind_ip_all --port 27017 --wiredTigerCacheSizeGB 0.5 --setParameter enableTestCommands=1 &
idle=0
while kill -0 $! && [ "$idle" -lt 30 ]; do
    sleep 1
    if grep ':6989 [0-9A-F]*:[0-9A-F]* 01 ' /proc/net/tcp | grep -qv ' 0100007F:6989'; then idle=0; else idle=$((idle + 1)); fi
done
kill -9 $!
"#;

/// A running container. It ends soon after `_lifeline` is closed, at the latest with this process.
#[derive(Debug)]
pub(crate) struct Container {
    pub url: String,
    _lifeline: TcpStream,
    _running: ContainerAsync<GenericImage>,
}

impl Container {
    pub(crate) async fn start(image: &Image) -> Result<Self, Error> {
        engine().await?;
        let failed = |problem: &dyn std::fmt::Display| Error::ContainerFailed {
            image: image.to_string(),
            problem: in_one_line(&problem.to_string()),
        };
        let request = GenericImage::new(image.name.clone(), image.tag.clone())
            .with_exposed_port(PORT.tcp())
            .with_cmd(["sh", "-c", SCRIPT, "mongod", SET])
            .with_host_config_modifier(|host| {
                host.auto_remove = Some(true);
                if engine_is_here() {
                    on_loopback_only(host);
                }
            });
        let container = timeout(CONTAINER_DEADLINE, request.start())
            .await
            .map_err(|_| failed(&"timed out after five minutes"))?
            .map_err(|error| failed(&error))?;
        let host = container.get_host().await.map_err(|error| failed(&error))?;
        let port = container.get_host_port_ipv4(PORT).await.map_err(|error| failed(&error))?;
        let address = format!("{host}:{port}");
        initiate(&address).await?;
        let lifeline = TcpStream::connect(&address).map_err(Error::io(format!("connecting to {address}")))?;
        // The address in the replica set configuration is valid inside the container only.
        let url = format!("mongodb://{address}/?directConnection=true");
        Ok(Self { url, _lifeline: lifeline, _running: container })
    }
}

/// The database has no password, so only this machine may reach it.
fn on_loopback_only(host: &mut HostConfig) {
    let binding = PortBinding { host_ip: Some(Ipv4Addr::LOCALHOST.to_string()), host_port: None };
    host.publish_all_ports = Some(false);
    host.port_bindings = Some([(format!("{PORT}/tcp"), Some(vec![binding]))].into());
}

/// A CI system may provide a Docker engine on another machine.
fn engine_is_here() -> bool {
    variable("DOCKER_HOST").is_none_or(|host| host.starts_with("unix:"))
}

async fn engine() -> Result<(), Error> {
    let engine =
        docker_client_instance().await.map_err(|error| Error::DockerUnavailable(error.to_string()))?;
    let answer = timeout(ENGINE_DEADLINE, engine.ping()).await;
    let answer = answer.map_err(|_| Error::DockerUnavailable("no answer within five seconds".to_owned()))?;
    answer.map(drop).map_err(|error| Error::DockerUnavailable(in_one_line(&error.to_string())))
}

async fn initiate(address: &str) -> Result<(), Error> {
    let log = || "in the container".to_owned();
    let mut probe = AdminConnection::new(address);
    probe.wait_until(|role| role == ServerRole::Uninitiated, || None, log).await?;
    let members = [format!("127.0.0.1:{PORT}")];
    let initiated = probe.initiate(SET, &members).await;
    initiated.map_err(|last| Error::NotReady {
        address: address.to_owned(),
        seconds: 0,
        last,
        log: log(),
    })?;
    probe.wait_until(|role| role == ServerRole::Primary, || None, log).await.map(drop)
}
