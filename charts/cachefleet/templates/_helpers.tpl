{{/* Names and labels that several templates share. */}}
{{- define "cachefleet.fullname" -}}
{{- $name := .Values.nameOverride | default "cachefleet" -}}
{{- $long := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ .Values.fullnameOverride | default $long | trunc 50 | trimSuffix "-" }}
{{- end -}}

{{- define "cachefleet.selector" -}}
app.kubernetes.io/name: cachefleet-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Ours win over the user's: policies of Caches let the operator in by its name. */}}
{{- define "cachefleet.labels" -}}
{{ merge (include "cachefleet.ownLabels" . | fromYaml) (.Values.commonLabels | default dict) | toYaml }}
{{- end -}}

{{- define "cachefleet.ownLabels" -}}
{{ include "cachefleet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: cachefleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The labels and the user's, of which ours win: (list $ .Values.podLabels) */}}
{{- define "cachefleet.labelsAnd" -}}
{{ merge (include "cachefleet.labels" (first .) | fromYaml) (last . | default dict) | toYaml }}
{{- end -}}

{{- define "cachefleet.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion | printf ":%s" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}{{ $tag }}{{ end }}
{{- end -}}

{{- define "cachefleet.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "cachefleet.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* The namespaces whose Caches it looks after, by commas. A name of digits may come as a number. */}}
{{- define "cachefleet.namespaces" -}}
{{- $found := list -}}
{{- range .Values.namespaces -}}{{- $found = append $found (kindIs "string" . | ternary . (int64 . | toString)) -}}{{- end -}}
{{ join "," (uniq $found) }}
{{- end -}}

{{/* Names by commas, and labels as name=value by commas, as the operator reads them. */}}
{{- define "cachefleet.pullSecrets" -}}
{{- $found := list -}}
{{- range .Values.caches.imagePullSecrets -}}{{- $found = append $found .name -}}{{- end -}}
{{ join "," $found }}
{{- end -}}

{{- define "cachefleet.cacheLabels" -}}
{{- $found := list -}}
{{- range $name, $value := .Values.caches.labels -}}{{- $found = append $found (printf "%s=%s" $name $value) -}}{{- end -}}
{{ join "," $found }}
{{- end -}}

{{/* What is not in the release's own namespace, where a release of the same name in another may want it, too. A namespace
     has no dots. */}}
{{- define "cachefleet.outerName" -}}
{{ .Release.Namespace }}.{{ include "cachefleet.fullname" . }}
{{- end -}}

{{/* The groups of alerts: rows of files/alerts.yaml, with what `prometheusRule.alerts` says of them. */}}
{{- define "cachefleet.alerts" -}}
{{- $runbook := .Values.prometheusRule.runbook | default (printf "%s/blob/v%s/docs/troubleshooting.md" .Chart.Home .Chart.AppVersion) -}}
{{- $groups := list -}}
{{- range $group := (.Files.Get "files/alerts.yaml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $row := $group.rules -}}
{{- $set := get ($.Values.prometheusRule.alerts | default dict) $row.alert | default dict -}}
{{- if ne (get $set "enabled" | toString) "false" -}}
{{- $threshold := kindIs "invalid" $set.threshold | ternary $row.threshold $set.threshold | toString -}}
{{- $rule := dict "alert" $row.alert "expr" ($row.expr | replace "THRESHOLD" $threshold) -}}
{{- with $set.for | default $row.for -}}{{- $_ := set $rule "for" . -}}{{- end -}}
{{- $labels := merge (dict "severity" ($set.severity | default $row.severity)) ($.Values.prometheusRule.alertLabels | default dict) -}}
{{- $url := printf "%s#%s" $runbook (lower $row.alert) -}}
{{- $words := dict "summary" $row.summary "description" $row.description "runbook_url" $url -}}
{{- $rules = append $rules (merge $rule (dict "labels" $labels "annotations" $words)) -}}
{{- end -}}
{{- end -}}
{{- with $rules -}}{{- $groups = append $groups (dict "name" $group.name "rules" .) -}}{{- end -}}
{{- end -}}
{{ toYaml $groups }}
{{- end -}}

{{/* `null` takes a value of the chart away, and `podMonitor:` without anything below it is null. First in every template. */}}
{{- define "cachefleet.check" -}}
{{- $lacking := list -}}
{{- range list "image" "server" "caches" "namespaces" "serviceAccount" "rbac" "crds" "networkPolicy" "podMonitor" "serviceMonitor" "prometheusRule" "dashboards" -}}
{{- if kindIs "invalid" (index $.Values .) -}}{{- $lacking = append $lacking . -}}{{- end -}}
{{- end -}}
{{- if not $lacking -}}
{{- range $block, $fields := dict "image" (list "repository" "pullPolicy") "server" (list "repository") "podMonitor" (list "interval") "serviceMonitor" (list "interval") -}}
{{- range $fields -}}
{{- if kindIs "invalid" (index $.Values $block .) -}}{{- $lacking = append $lacking (printf "%s.%s" $block .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $lacking -}}
{{- fail (printf "without a value: %s; leave it out for the default, or say what it should be" (join ", " .)) -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor and serviceMonitor: with both, everything would be counted twice; enable one" -}}
{{- end -}}
{{- end -}}
