{{/* Names and labels that several templates share. */}}
{{- define "cachefleet.fullname" -}}
{{- if contains "cachefleet" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-cachefleet" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "cachefleet.selector" -}}
app.kubernetes.io/name: cachefleet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cachefleet.labels" -}}
{{ include "cachefleet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: cachefleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The labels and the user's, of which ours win: (list $ .Values.podLabels) */}}
{{- define "cachefleet.labelsAnd" -}}
{{ merge (include "cachefleet.labels" (first .) | fromYaml) (last .) | toYaml }}
{{- end -}}

{{- define "cachefleet.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "cachefleet.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "cachefleet.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end -}}

{{/* The namespaces whose Caches it looks after. */}}
{{- define "cachefleet.namespaces" -}}
{{ join "," (uniq .Values.namespaces) }}
{{- end -}}
