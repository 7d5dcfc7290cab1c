//! Writes the service's client and server. By hand instead of from a `.proto` file, which would need `protoc`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, output: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::wire::Frame")
            .output_type(output)
            .codec_path("tonic_prost::ProstCodec")
    };
    let frame = "crate::wire::Frame";
    let service = Service::builder()
        .name("Sink")
        .package("peers")
        .method(method("tell", "Tell", "crate::wire::Counted").client_streaming().build())
        .method(method("ask", "Ask", frame).build())
        .method(method("echo", "Echo", frame).client_streaming().server_streaming().build())
        .build();
    Builder::new().compile(&[service]);
}
