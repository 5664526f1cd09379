//! A certification authority for tests: it issues certificates to clients, and revokes them.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType,
};

use crate::pki::{Certificate, DAY, Valid};

/// A certification authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A root CA of this name.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    /// An intermediate CA of this one.
    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    /// An intermediate CA of this one, with changes.
    pub fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority(name);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A client certificate with this common name and serial number, valid now.
    pub fn client(&self, name: &str, serial: u8) -> Certificate {
        self.client_with(name, serial, Valid::Now, |_| {})
    }

    /// A client certificate with changes.
    pub fn client_with(
        &self,
        name: &str,
        serial: u8,
        valid: Valid,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let key = KeyPair::generate().unwrap();
        self.certify(&key, name, serial, valid, change)
    }

    /// A client certificate for this key.
    pub fn certify(
        &self,
        key: &KeyPair,
        name: &str,
        serial: u8,
        valid: Valid,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = named(name);
        params.serial_number = Some(vec![serial].into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        valid.date(&mut params);
        change(&mut params);
        Certificate {
            certificate: params.signed_by(key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A server certificate for these names.
    pub fn server(&self, names: &[&str], serial: u8, key: &KeyPair) -> Certificate {
        self.certify(key, names[0], serial, Valid::Now, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = names.iter().map(|name| dns(name)).collect();
        })
    }

    /// A CRL with these serial numbers, in PEM.
    pub fn crl(&self, revoked: &[u8], valid: Valid) -> String {
        let days = match valid {
            Valid::Yesterday => [-2, -1],
            Valid::Now | Valid::Tomorrow => [-1, 1],
        };
        self.numbered_crl(revoked, 1, days)
    }

    /// A CRL with this CRL number, from and until days that are counted from now.
    pub fn numbered_crl(&self, revoked: &[u8], number: u8, days: [i64; 2]) -> String {
        let now = SystemTime::now();
        let [from, until] = days.map(|days| match u32::try_from(days) {
            Ok(days) => now + DAY * days,
            Err(_) => now - DAY * u32::try_from(-days).unwrap(),
        });
        let list = CertificateRevocationListParams {
            this_update: from.into(),
            next_update: until.into(),
            crl_number: vec![number].into(),
            ..crl(revoked)
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// A CRL of a distribution point, for client certificates alone, that is some days old.
    pub fn crl_at(&self, uri: &str, revoked: &[u8], number: u64, age: u32) -> String {
        let uris = vec![uri.to_owned()];
        let list = CertificateRevocationListParams {
            this_update: (SystemTime::now() - DAY * age).into(),
            crl_number: number.into(),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris },
                scope: Some(CrlScope::UserCertsOnly),
            }),
            ..crl(revoked)
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Its key, in PEM, for tools that sign in its name.
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }
}

/// A CRL with these serial numbers, valid now.
fn crl(revoked: &[u8]) -> CertificateRevocationListParams {
    let now = SystemTime::now();
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: vec![*serial].into(),
        revocation_time: (now - DAY).into(),
        reason_code: None,
        invalidity_date: None,
    });
    CertificateRevocationListParams {
        this_update: (now - DAY).into(),
        next_update: (now + DAY).into(),
        crl_number: vec![1].into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

/// A dNSName.
pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
