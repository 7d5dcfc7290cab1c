//! The conformance suite: over links in memory, over QUIC on a simulated network, and over real QUIC, with routers and I/O beside the
//! actors and on threads of their own.

mod memory {
    actogen_tests::conformance!(actogen_tests::mesh::Memory);
    actogen_tests::conformance_of_processes!(actogen_tests::mesh::Memory);
}

mod simulated {
    actogen_tests::conformance!(actogen_tests::mesh::Simulated);
}

mod quic {
    actogen_tests::conformance!(actogen_tests::mesh::Quic);
    actogen_tests::conformance_of_processes!(actogen_tests::mesh::Quic);
}

mod quic_threads {
    actogen_tests::conformance!(actogen_tests::mesh::QuicThreads);
    actogen_tests::conformance_of_processes!(actogen_tests::mesh::QuicThreads);
}
