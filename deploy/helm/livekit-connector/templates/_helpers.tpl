{{- define "connector.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "connector.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "connector.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "connector.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "connector.secret" -}}
{{ .Values.secret.existing | default (include "connector.name" .) }}
{{- end }}

{{- define "connector.account" -}}
{{ .Values.serviceAccount.name | default (ternary (include "connector.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* The CPU request in cores. Not by resourceFieldRef, which rounds up to whole cores or gives thousandths. */ -}}
{{- define "connector.cpus" -}}
{{- $request := ((.Values.resources | default dict).requests | default dict).cpu | toString }}
{{- if not (or (eq $request "<nil>") (eq $request "") (hasKey (.Values.config.limits | default dict) "cpus")) }}
{{- if not (regexMatch "^([0-9]+m|[0-9]*\\.?[0-9]+)$" $request) }}{{ fail (printf "resources.requests.cpu is %s: write it as cores, such as 1.5, or thousandths, such as 1500m" $request) }}{{ end }}
{{- if hasSuffix "m" $request }}{{ divf (trimSuffix "m" $request) 1000 }}{{ else }}{{ $request }}{{ end }}
{{- end }}
{{- end }}

{{- /* What the schema cannot say. */ -}}
{{- define "connector.check" -}}
{{- if not .Values.livekit.url }}{{ fail "livekit.url is missing: the URL of your livekit-server, such as wss://livekit.example.com" }}{{ end }}
{{- if not .Values.livekit.apiKey }}{{ fail "livekit.apiKey is missing: an API key that your livekit-server knows" }}{{ end }}
{{- if not (or .Values.secret.existing (index .Values.secret.values "api-secret")) }}{{ fail "the secret of livekit.apiKey is missing: name a Secret with the entry api-secret in secret.existing, or set secret.values.api-secret" }}{{ end }}
{{- if and .Values.secret.existing .Values.secret.values }}{{ fail "secret.existing and secret.values are both set: put the values into that Secret, or leave existing empty" }}{{ end }}
{{- if and (not .Values.separateNodes) (or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled .Values.keda.enabled) }}{{ fail "more than one pod: nodes do not know of each other's calls, so Connect, Disconnect and Meta's webhooks have to reach the pod that has the call. Set separateNodes: true if something in front of the pods sees to that" }}{{ end }}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled }}{{ fail "autoscaling.enabled and keda.enabled are both set: KEDA makes an HPA of its own, so choose one" }}{{ end }}
{{- if and .Values.keda.enabled (eq (int .Values.ports.metrics) 0) }}{{ fail "keda.enabled scales by metrics: set ports.metrics" }}{{ end }}
{{- if and .Values.podMonitor.enabled (eq (int .Values.ports.metrics) 0) }}{{ fail "podMonitor.enabled needs ports.metrics" }}{{ end }}
{{- if (.Values.config.tls | default dict).admin }}{{ fail "config.tls.admin is set: the preStop hook asks the admin port by http, inside the pod; leave it out" }}{{ end }}
{{- with (.Values.config.admin | default dict).bind_addresses }}
{{- if not (or (has "127.0.0.1" .) (has "0.0.0.0" .) (has "::" .)) }}{{ fail "config.admin.bind_addresses has no 127.0.0.1: the preStop hook asks the admin port there" }}{{ end }}
{{- end }}
{{- end }}
