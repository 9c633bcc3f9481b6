{{- define "stub.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 47 characters leave room for "-agents-external" within a DNS label's 63. */ -}}
{{- define "stub.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 47 | trimSuffix "-" -}}
{{- else if contains (include "stub.name" .) .Release.Name -}}
{{- .Release.Name | trunc 47 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "stub.name" .) | trunc 47 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stub.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stub.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stub.labels" -}}
{{ include "stub.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: stub
app.kubernetes.io/part-of: cluster-tunnel
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "stub.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "stub.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "stub.image" -}}
{{- $repository := required "image.repository: say where the image is that was made from the project's Dockerfile" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "stub.agentPort" -}}
{{- ternary "agents" "https" .Values.separateAgentPort -}}
{{- end -}}

{{- define "stub.agentPortNumber" -}}
{{- ternary 8445 8443 .Values.separateAgentPort -}}
{{- end -}}

{{- define "stub.certificates" -}}
{{- $secret := .Values.certificates.existingSecret -}}
{{- $claim := .Values.certificates.existingClaim -}}
{{- if and $secret $claim -}}
{{- fail "certificates: existingSecret and existingClaim exclude each other" -}}
{{- else if $claim -}}
persistentVolumeClaim:
  claimName: {{ $claim }}
{{- else -}}
secret:
  secretName: {{ required "certificates.existingSecret: name the Secret with server.crt, server.key, user-ca.crt, agent-ca.crt and denied.json" $secret }}
  defaultMode: 0440
{{- end -}}
{{- end -}}

{{- /* Settings as texts: YAML would show a million as 1e+06. */ -}}
{{- define "stub.settings" -}}
{{- range $key, $value := .Values.settings }}
{{- if kindIs "float64" $value }}
{{ $key }}: {{ $value | int64 | toString | quote }}
{{- else if kindIs "slice" $value }}
{{ $key }}: {{ toJson $value }}
{{- else }}
{{ $key }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* What both Services with a port of their own have in common; `service` is their part of the values. */ -}}
{{- define "stub.serviceSpec" -}}
{{- $service := .service -}}
type: {{ $service.type }}
{{- if has $service.type (list "LoadBalancer" "NodePort") }}
externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
{{- end }}
{{- if eq $service.type "LoadBalancer" }}
{{- with $service.loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with $service.loadBalancerSourceRanges }}
loadBalancerSourceRanges:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
ports:
  - name: {{ .port }}
    port: {{ $service.port }}
    targetPort: {{ .port }}
    protocol: TCP
    {{- with $service.nodePort }}
    nodePort: {{ . }}
    {{- end }}
{{- end -}}
