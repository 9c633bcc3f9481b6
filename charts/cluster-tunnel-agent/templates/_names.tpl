{{- define "agent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 54 characters leave room for "-accounts" within a DNS label's 63. */ -}}
{{- define "agent.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains (include "agent.name" .) .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "agent.name" .) | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "agent.selectorLabels" -}}
app.kubernetes.io/name: {{ include "agent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "agent.labels" -}}
{{ include "agent.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: agent
app.kubernetes.io/part-of: cluster-tunnel
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "agent.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "agent.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "agent.image" -}}
{{- $repository := required "image.repository: say where the image is that was made from the project's Dockerfile" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* ClusterRoles have no namespace: two releases of one name may be in two. */ -}}
{{- define "agent.clusterRole" -}}
{{- printf "%s-%s" (include "agent.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "agent.joins" -}}
{{- if and .Values.certificate.existingSecret .Values.join.existingSecret -}}
{{- fail "certificate.existingSecret and join.existingSecret exclude each other" -}}
{{- else if .Values.join.existingSecret -}}
true
{{- else -}}
{{- $_ := required "certificate.existingSecret or join.existingSecret: name the Secret with the agent's certificate or its join token" .Values.certificate.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "agent.accounts" -}}
{{- if eq .Values.mode "tokenrequest" -}}
{{- if not .Values.accounts }}{{ $_ := required "accounts: mode tokenrequest needs to know who acts as which service account" nil }}{{ end -}}
true
{{- else if .Values.accounts -}}
{{- fail "accounts goes with mode tokenrequest" -}}
{{- end -}}
{{- end -}}

{{- /* The names of the service accounts, by namespace, as JSON. */ -}}
{{- define "agent.accountsByNamespace" -}}
{{- $found := dict -}}
{{- range .Values.accounts -}}
{{- $parts := splitList "/" .serviceAccount -}}
{{- $namespace := first $parts -}}
{{- $_ := set $found $namespace (append (get $found $namespace | default list) (last $parts) | uniq) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /* Settings as texts: YAML would show a million as 1e+06. */ -}}
{{- define "agent.settings" -}}
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
