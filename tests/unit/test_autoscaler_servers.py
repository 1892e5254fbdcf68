"""What local servers of autoscalers are registered and secured with."""

from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from devcluster.autoscalers.registration import api_services, service
from devcluster.binaries import CATALOGUE, KEDA_KINDS, KEDA_PROGRAMS
from devcluster.controlplane.pki import create_mutual_tls


def test_both_ends_may_use_the_certificate_and_it_names_the_server(tmp_path: Path) -> None:
    create_mutual_tls(tmp_path / "tls", "keda-operator", "127.0.0.1")
    read = {name: (tmp_path / "tls" / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key")}
    certificate = x509.load_pem_x509_certificate(read["tls.crt"])
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(read["ca.crt"]))
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert (tmp_path / "tls" / "tls.key").stat().st_mode & 0o077 == 0


def test_an_api_service_points_to_the_port_of_its_service() -> None:
    there = service("keda-metrics-apiserver", "keda", 23456)
    found = list(api_services(there, "external.metrics.k8s.io", ("v1beta1", "v1beta2")))
    assert [one["metadata"]["name"] for one in found] == [
        "v1beta1.external.metrics.k8s.io",
        "v1beta2.external.metrics.k8s.io",
    ]
    for one in found:
        assert one["spec"]["service"] == {"name": "keda-metrics-apiserver", "namespace": "keda", "port": 23456}


def test_everything_that_keda_needs_is_known() -> None:
    assert set(KEDA_PROGRAMS) <= set(CATALOGUE)
    assert {CATALOGUE[name].version for name in KEDA_PROGRAMS} == {
        publisher.version for publisher in KEDA_KINDS.values()
    }
