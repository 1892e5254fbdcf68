{{- define "operator.labels" -}}
app.kubernetes.io/name: mediapipeline-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: mediapipeline
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "operator.selector" -}}
app.kubernetes.io/name: mediapipeline-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What the operator may do where it serves pipelines. Each rule says why; there is no rule on Secrets. */}}
{{- define "operator.rules" -}}
# The pipelines themselves: watched, and reported on in their status. Never changed otherwise.
- apiGroups: [media.rtcscale.dev]
  resources: [mediapipelines]
  verbs: [get, list, watch]
- apiGroups: [media.rtcscale.dev]
  resources: [mediapipelines/status]
  verbs: [patch]
# spec.replicas is set to the present number before another engine takes over.
- apiGroups: [media.rtcscale.dev]
  resources: [mediapipelines/scale]
  verbs: [get, update]
# Children carry owner references with blockOwnerDeletion; some clusters admit that only with this right.
- apiGroups: [media.rtcscale.dev]
  resources: [mediapipelines/finalizers]
  verbs: [update]
# Children that live as long as their pipeline: made and repaired by server-side apply, deleted by the garbage collector.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# Children that a pipeline can switch off: these are deleted then.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
# Autoscalers of the engines of these names; those of others are seen, so that nothing works against them.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
# The number of replicas is written here and nowhere else.
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [update]
# Pods are observed, and marked as draining. They are never deleted by the operator.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
# Decisions are told as events of the pipeline.
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* A map as key=value,key=value, keys in order. */}}
{{- define "operator.pairs" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end }}
{{- join "," $pairs }}
{{- end }}

{{/* All settings of the operator, as environment variables. Its Deployment rolls when one changes. */}}
{{- define "operator.settings" -}}
MEDIAPIPELINE_OPERATOR_PROMETHEUS_URL: {{ .Values.prometheus.url | quote }}
{{- if .Values.prometheus.tokenSecret.name }}
MEDIAPIPELINE_OPERATOR_PROMETHEUS_TOKEN_FILE: /etc/prometheus-token/{{ .Values.prometheus.tokenSecret.key }}
{{- end }}
{{- if .Values.prometheus.caConfigMap.name }}
MEDIAPIPELINE_OPERATOR_PROMETHEUS_CA_FILE: /etc/prometheus-ca/{{ .Values.prometheus.caConfigMap.key }}
{{- end }}
{{- if .Values.prometheus.headers }}
MEDIAPIPELINE_OPERATOR_PROMETHEUS_HEADERS: {{ include "operator.pairs" .Values.prometheus.headers | quote }}
{{- end }}
{{- if .Values.prometheus.kedaTriggerAuthentication }}
MEDIAPIPELINE_OPERATOR_KEDA_TRIGGER_AUTHENTICATION: {{ .Values.prometheus.kedaTriggerAuthentication | quote }}
{{- end }}
MEDIAPIPELINE_OPERATOR_MEDIAPOD_IMAGE: "{{ .Values.mediapod.image.repository }}:{{ .Values.mediapod.image.tag | default .Chart.AppVersion }}"
MEDIAPIPELINE_OPERATOR_NAMESPACES: {{ join "," .Values.namespaces | quote }}
MEDIAPIPELINE_OPERATOR_SERVICE_MONITOR_LABELS: {{ include "operator.pairs" .Values.prometheus.serviceMonitorLabels | quote }}
MEDIAPIPELINE_OPERATOR_MONITORING_NAMESPACE: {{ .Values.prometheus.namespace | quote }}
MEDIAPIPELINE_OPERATOR_MAX_CONCURRENT_ROLLOUTS: {{ .Values.rollouts.maxConcurrent | quote }}
MEDIAPIPELINE_OPERATOR_TICK_SECONDS: {{ .Values.scaling.tickSeconds | quote }}
MEDIAPIPELINE_OPERATOR_LEASE_NAMESPACE: {{ .Release.Namespace | quote }}
MEDIAPIPELINE_OPERATOR_LEASE_NAME: {{ .Values.fullnameOverride | quote }}
MEDIAPIPELINE_OPERATOR_HEALTH_PORT: "8081"
MEDIAPIPELINE_OPERATOR_LOG_FORMAT: {{ .Values.log.format | quote }}
MEDIAPIPELINE_OPERATOR_LOG_LEVEL: {{ .Values.log.level | quote }}
{{- end }}
