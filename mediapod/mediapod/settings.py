"""Every setting of the mediapod: one class, read from the environment once, at start."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from mediapod.access import JwtVerifier
from mediapod.rtc.turn import TurnServer

Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]
Port = Annotated[int, Field(ge=0, le=65535)]
SECRETS = {"MEDIAPOD_TOKEN", "MEDIAPOD_JWT_KEY", "MEDIAPOD_TURN_SECRET", "MEDIAPOD_TURN_PASSWORD"}  # never shown
PORT_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")
# What GPU_SPEEDUP_FACTOR divides: the reference workload, 1920x1080 with 10 iterations, on a CPU. The reference
# documents say 100 to 500 ms there, 5 to 20 ms on a GPU, and a factor of 25. 250 / 25 is 10 ms, the middle (geometric
# mean) of what they say of the GPU.
SIMULATED_REFERENCE_MILLISECONDS = 250.0


class InvalidSettings(ValueError):  # noqa: N818  same wording as InvalidStages
    """One or more settings are wrong; each line of the message names the environment variable."""


class StageSetting(BaseModel):
    """One stage of the pipeline as the resource has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1, max_length=63)
    effect: str = Field(min_length=1, max_length=63)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class Settings(BaseSettings):
    """The environment of a mediapod. The operator sets all of it; by hand, everything may be left out."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=False)

    pod_ip: str = Field("", validation_alias="POD_IP", description="Address of the pod.")
    pod_name: str = Field("", validation_alias="POD_NAME", description="Name of the pod, for logs.")
    pod_namespace: str = Field("", validation_alias="POD_NAMESPACE", description="Namespace of the pod, for logs.")
    node_name: str = Field("", validation_alias="NODE_NAME", description="Name of the node, for logs.")
    bind_address: str = Field(
        "",
        validation_alias="MEDIAPOD_BIND_ADDRESS",
        description="Address for HTTP and media. Empty: POD_IP, else 0.0.0.0.",
    )
    http_port: Port = Field(8080, validation_alias="MEDIAPOD_HTTP_PORT", description="Port for users. 0: any free one.")
    admin_port: Port = Field(
        9090,
        validation_alias="MEDIAPOD_ADMIN_PORT",
        description="Port for the operator, probes and Prometheus. 0: any free one.",
    )

    pipeline: str = Field("", validation_alias="MEDIAPOD_PIPELINE", description="Name of the pipeline, for logs.")
    stages: list[StageSetting] = Field(
        default_factory=list,
        max_length=32,
        validation_alias="MEDIAPOD_STAGES",
        description='JSON list of {"name", "effect", "parameters"}. Empty: pictures pass unchanged.',
    )
    frame_deadline_milliseconds: float = Field(
        100,
        gt=0,
        le=60_000,
        validation_alias="MEDIAPOD_FRAME_DEADLINE_MILLISECONDS",
        description="A frame older than this is late.",
    )
    late_policy: Literal["Drop", "Bypass"] = Field(
        "Drop", validation_alias="MEDIAPOD_LATE_POLICY", description="Late frames: drop them, or send them unprocessed."
    )

    max_sessions: int = Field(
        100,
        ge=1,
        le=10_000,
        validation_alias="MAX_SESSIONS_PER_POD",
        description="Sessions that are let in, pending ones counted.",
    )
    connect_seconds: Seconds = Field(
        30, validation_alias="WEBRTC_TIMEOUT", description="Seconds from offer to connection."
    )
    idle_seconds: Seconds = Field(
        300, validation_alias="SESSION_TIMEOUT", description="Seconds without a packet until a session ends."
    )
    maximum_seconds: Seconds | None = Field(
        None,
        validation_alias="MEDIAPOD_MAX_SESSION_SECONDS",
        description="Longest session in seconds. Absent: unlimited.",
    )
    grace_seconds: Seconds = Field(
        30,
        validation_alias="MEDIAPOD_GRACE_SECONDS",
        description="terminationGracePeriodSeconds; SIGTERM drains until 5 s before its end.",
    )

    forward_unchanged: bool = Field(
        True,
        validation_alias="MEDIAPOD_FORWARD_UNCHANGED",
        description="A pipeline that changes nothing sends encoded frames back without decoding them. Not for WHIP.",
    )
    admission_loop_lag_milliseconds: float = Field(
        250,
        ge=0,
        le=10_000,
        validation_alias="MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS",
        description="No further session while the event loop runs later than this (median of 3 s). 0: not looked at.",
    )
    admission_missed_percent: float = Field(
        0,
        ge=0,
        le=100,
        validation_alias="MEDIAPOD_ADMISSION_MISSED_PERCENT",
        description="No further session while more of the frames are missed than this. 0: not looked at.",
    )

    device: Literal["Auto", "GPU", "CPU", "Simulated"] = Field(
        "Auto",
        validation_alias="MEDIAPOD_DEVICE",
        description="Where effects run. GPU and Auto fall back to the CPU, counted.",
    )
    simulated_service_time_milliseconds: float | None = Field(
        None,
        gt=0,
        le=10_000,
        validation_alias="MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS",
        description="Time that the simulated device takes for one frame. Absent: 250 ms / GPU_SPEEDUP_FACTOR, that is "
        "10 ms, as the reference documents have it for 1920x1080 and 10 iterations.",
    )
    cuda_wanted: bool = Field(True, validation_alias="CUDA_WANTED", description="False: the device Auto means CPU.")
    gpu_simulation: bool = Field(False, validation_alias="GPU_SIMULATION", description="True: the device is Simulated.")
    gpu_speedup_factor: float = Field(
        25,
        gt=0,
        le=1000,
        validation_alias="GPU_SPEEDUP_FACTOR",
        description="How much faster than the CPU the simulated GPU is: /process divides its measured time by it, and "
        "it sets the service time of the simulated device.",
    )
    pytorch_cuda_alloc_conf: str = Field(
        "",
        validation_alias="PYTORCH_CUDA_ALLOC_CONF",
        description="Read by PyTorch itself: its memory allocator's options.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=256,
        validation_alias="MEDIAPOD_WORKERS",
        description="CPUs for media. Above 1: a front and one media worker process for each, and a process for the "
        "device if they share one. No more workers than MAX_SESSIONS_PER_POD or media ports.",
    )
    pin_workers: bool = Field(
        False,
        validation_alias="MEDIAPOD_PIN_WORKERS",
        description="True: each media worker runs on one CPU of its own. Only where the pod has its CPUs to itself.",
    )
    heartbeat_seconds: Seconds = Field(
        10,
        validation_alias="MEDIAPOD_HEARTBEAT_SECONDS",
        description="A media worker or device process that is silent for this long is killed and replaced.",
    )

    allowed_origins: list[str] = Field(
        default_factory=list,
        validation_alias="MEDIAPOD_ALLOWED_ORIGINS",
        description="JSON list of origins that browsers may call from.",
    )
    token: SecretStr | None = Field(
        None, validation_alias="MEDIAPOD_TOKEN", description="Bearer token that offers must carry. Absent: none needed."
    )
    jwt_key: SecretStr | None = Field(
        None,
        validation_alias="MEDIAPOD_JWT_KEY",
        description="Key of JSON Web Tokens that are accepted as bearer tokens: a public key in PEM (RS256), else a "
        "shared secret of at least 32 bytes (HS256). Tokens must carry exp and aud.",
    )
    jwt_audience: str = Field(
        "mediapod",
        min_length=1,
        validation_alias="MEDIAPOD_JWT_AUDIENCE",
        description="Audience (aud) that JSON Web Tokens must be for.",
    )
    turn_uris: list[str] = Field(
        default_factory=list,
        max_length=8,
        validation_alias="MEDIAPOD_TURN_URIS",
        description="JSON list of TURN servers (turn:host:port?transport=udp) that clients are told of: in Link "
        "headers of WHIP and WHEP, and as iceServers at /webrtc/ice-servers. They need a secret, or a user's name and "
        "password.",
    )
    turn_secret: SecretStr | None = Field(
        None,
        validation_alias="MEDIAPOD_TURN_SECRET",
        description="Secret shared with the TURN servers (static-auth-secret of coturn): each session gets credentials "
        "of its own.",
    )
    turn_username: str = Field(
        "",
        max_length=512,
        validation_alias="MEDIAPOD_TURN_USERNAME",
        description="User of the TURN servers, instead of a shared secret. Every client learns it and its password.",
    )
    turn_password: SecretStr | None = Field(
        None, validation_alias="MEDIAPOD_TURN_PASSWORD", description="Password of that user."
    )
    relay: bool = Field(
        False,
        validation_alias="MEDIAPOD_RELAY",
        description="True: no media port is opened; each session is reached by an address that one of the TURN servers "
        "lends. The pod is not ready before one has done so.",
    )
    turn_lifetime_seconds: int = Field(
        3600,
        ge=60,
        le=86_400,
        validation_alias="MEDIAPOD_TURN_LIFETIME_SECONDS",
        description="Seconds that TURN credentials are valid.",
    )
    peers: str = Field(
        "",
        max_length=512,
        validation_alias="MEDIAPOD_PEERS",
        description="DNS name whose addresses are the pods of the pipeline: offers are placed on one of them. Or the "
        "path of a file with one address:port (admin port) in each line. Empty: every offer is served here.",
    )
    placement_fill_percent: float = Field(
        75,
        ge=0,
        le=100,
        validation_alias="MEDIAPOD_PLACEMENT_FILL_PERCENT",
        description="Offers go to the fullest pod that, with one session more, holds at most this share of "
        "MAX_SESSIONS_PER_POD and whose measured load has room for it; else they spread. 0: they always spread.",
    )
    process_maximum_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        le=256 * 1024 * 1024,
        validation_alias="MEDIAPOD_PROCESS_MAXIMUM_BYTES",
        description="Largest body of POST /process in bytes.",
    )
    process_maximum_pixels: int = Field(
        3840 * 2160,
        ge=64,
        le=100_000_000,
        validation_alias="MEDIAPOD_PROCESS_MAXIMUM_PIXELS",
        description="Largest picture of POST /process in pixels, checked before it is decoded.",
    )
    simulation_toggle: bool = Field(
        False,
        validation_alias="MEDIAPOD_ALLOW_SIMULATION_TOGGLE",
        description="True: POST /toggle-gpu-simulation switches the simulated device of /process on and off.",
    )
    media_port_range: str = Field(
        "",
        validation_alias="MEDIAPOD_MEDIA_PORT_RANGE",
        description='UDP ports for media, "from-to". Empty: any free port.',
    )
    advertised_addresses: list[str] = Field(
        default_factory=list,
        max_length=8,
        validation_alias="MEDIAPOD_ADVERTISED_ADDRESSES",
        description="JSON list of further addresses at which the media ports are reached (NAT, node).",
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Literal["json", "text"] = Field(
        "json", validation_alias="MEDIAPOD_LOG_FORMAT", description="json or text."
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("pod_ip", "bind_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value)) if value else value

    @field_validator("jwt_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            JwtVerifier(value.get_secret_value(), "any")
        return value

    @field_validator("turn_uris")
    @classmethod
    def _are_turn_uris(cls, value: list[str]) -> list[str]:
        return [TurnServer.parse(uri).uri for uri in value]

    @model_validator(mode="after")
    def _turn_is_whole(self) -> Settings:
        user = bool(self.turn_username and self.turn_password)
        if self.turn_uris and (self.turn_secret is not None) is user:
            raise ValueError(
                "MEDIAPOD_TURN_URIS needs either MEDIAPOD_TURN_SECRET, or MEDIAPOD_TURN_USERNAME and "
                "MEDIAPOD_TURN_PASSWORD: in the Secret networking.media.turnSecretName the key secret, or the keys "
                "username and password"
            )
        if self.relay and not self.turn_uris:
            raise ValueError("MEDIAPOD_RELAY needs MEDIAPOD_TURN_URIS: the TURN servers that lend addresses")
        return self

    @field_validator("advertised_addresses")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        return [str(ipaddress.ip_address(address)) for address in value]

    @field_validator("media_port_range")
    @classmethod
    def _is_port_range(cls, value: str) -> str:
        if value:
            _port_range(value)
        return value

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        if self.http_port == self.admin_port != 0:
            raise ValueError(f"MEDIAPOD_HTTP_PORT and MEDIAPOD_ADMIN_PORT are both {self.http_port}; they must differ")
        return self

    @property
    def address(self) -> str:
        """The address for HTTP and media."""
        return self.bind_address or self.pod_ip or "0.0.0.0"  # noqa: S104  the default of a container: every interface

    def admin_address(self, port: int) -> str:
        """ "host:port" at which the pipeline's other pods reach the admin port."""
        host = self.pod_ip or self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def media_ports(self) -> tuple[int, int] | None:
        """First and last media port, None for any."""
        return _port_range(self.media_port_range) if self.media_port_range else None

    @property
    def effective_device(self) -> str:
        """The device after the reference documents' switches."""
        if self.gpu_simulation:
            return "Simulated"
        return "CPU" if self.device == "Auto" and not self.cuda_wanted else self.device

    @property
    def service_time_seconds(self) -> float:
        """Service time of the simulated device in seconds."""
        given = self.simulated_service_time_milliseconds
        return (given if given is not None else SIMULATED_REFERENCE_MILLISECONDS / self.gpu_speedup_factor) / 1000


def _port_range(value: str) -> tuple[int, int]:
    match = PORT_RANGE.fullmatch(value)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1024 <= first <= last <= 65535:
        raise ValueError('must be "from-to" with 1024 <= from <= to <= 65535')
    return first, last


def load_settings() -> Settings:
    """Read the environment. Raises InvalidSettings naming each wrong variable."""
    try:
        return Settings()  # type: ignore[call-arg]  # every field comes from the environment
    except ValidationError as invalid:
        raise InvalidSettings("\n".join(_problems(invalid))) from invalid
    except SettingsError as invalid:
        raise InvalidSettings(_unreadable(invalid)) from invalid


def _problems(invalid: ValidationError) -> Iterator[str]:
    for problem in invalid.errors():
        where = ".".join(str(part) for part in problem["loc"])
        value = "" if SECRETS & set(where.split(".")) or not where else f" (it is {str(problem['input'])[:80]!r})"
        yield f"{where}: {problem['msg']}{value}" if where else problem["msg"]


def _unreadable(invalid: SettingsError) -> str:
    for name, field in Settings.model_fields.items():
        if f'"{name}"' in str(invalid):
            alias = str(field.validation_alias)
            return f"{alias}: must be JSON (it is {os.environ.get(alias, '')[:80]!r})"
    return str(invalid)
