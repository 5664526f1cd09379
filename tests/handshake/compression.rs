//! Compression of certificates.

use std::sync::Mutex;

use rustls::CertificateCompressionAlgorithm as Algorithm;
use rustls::compress::{
    BROTLI_DECOMPRESSOR, CertDecompressor, DecompressionFailed, ZLIB_DECOMPRESSOR,
};

use tlssrv_testing::{Dial, Server};

/// The compressed certificates received: algorithm, compressed and uncompressed length.
static CAME: Mutex<Vec<(Algorithm, usize, usize)>> = Mutex::new(Vec::new());

/// A decompressor that records what it gets.
#[derive(Debug)]
struct Noting(&'static dyn CertDecompressor);

impl CertDecompressor for Noting {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        let came = (self.0.algorithm(), input.len(), output.len());
        CAME.lock().unwrap().push(came);
        self.0.decompress(input, output)
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

static BROTLI: Noting = Noting(BROTLI_DECOMPRESSOR);
static ZLIB: Noting = Noting(ZLIB_DECOMPRESSOR);

#[test]
fn a_certificate_is_compressed_with_an_algorithm_that_the_client_offers() {
    let server = Server::of(&["cat"]);
    let certificate = server.site.certificate("cert.pem");
    let dials: [&[&'static dyn CertDecompressor]; 4] =
        [&[&ZLIB], &[&BROTLI], &[&ZLIB, &BROTLI], &[]];
    for decompressors in dials {
        // The second certificate comes from the cache.
        for _ in 0..2 {
            let dial =
                Dial::new().with(|config| config.cert_decompressors = decompressors.to_vec());
            let mut client = dial.connect(server.address(), "a.example");
            assert_eq!(client.certificate(), certificate);
            client.echoes();
        }
    }
    let came = CAME.lock().unwrap();
    let algorithms: Vec<Algorithm> = came.iter().map(|(algorithm, ..)| *algorithm).collect();
    let (zlib, brotli) = (Algorithm::Zlib, Algorithm::Brotli);
    assert_eq!(algorithms, [zlib, zlib, brotli, brotli, brotli, brotli]);
    for (algorithm, sent, certificate) in came.iter() {
        assert!(sent < certificate, "{algorithm:?}: {sent} of {certificate}");
    }
}
