{{/*
The CEL rules of the CRD about one Cache (api/v1alpha1.py, RULES), in its words: what breaks one is refused before a
release exists. Rules about changes need what is stored; they stay with the API server.
*/}}
{{- define "cache.rules" -}}
{{- $name := .Values.name | default .Release.Name -}}
{{- if gt (len $name) 40 -}}
{{- fail (printf "metadata.name must be at most 40 characters: objects and pods add to it (%q; choose one with --set name=...)" $name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "metadata.name must begin with a letter and have lower case letters, digits and inner dashes only, no dots: Services carry it (%q; choose one with --set name=...)" $name) -}}
{{- end -}}
{{- if regexMatch "-shard-[0-9]+$" $name -}}
{{- fail (printf "metadata.name must not end with -shard- and a number: shards of other Caches are called so (%q; choose one with --set name=...)" $name) -}}
{{- end -}}
{{- $spec := .Values.spec | default dict -}}
{{- $durability := dig "durability" dict $spec -}}
{{- $copies := dig "copies" 1 $durability | int -}}
{{- if eq (dig "mode" "async" $durability) "replicated" -}}
{{- if ge $copies (dig "instances" 1 $spec | int) -}}
{{- fail "spec.durability.copies must be less than instances: the primary itself does not count" -}}
{{- end -}}
{{- else if ne $copies 1 -}}
{{- fail "spec.durability.copies above 1 go with mode replicated, and only there" -}}
{{- end -}}
{{- if lt (include "cache.amount" (dig "memory" "limit" "256Mi" $spec) | float64) 100663296.0 -}}
{{- fail "spec.memory.limit must be at least 96Mi" -}}
{{- end -}}
{{- if and (dig "version" "" $spec) (dig "image" "" $spec) -}}
{{- fail "spec.version is a tag of the default image: it cannot stand beside image" -}}
{{- end -}}
{{- $auth := dig "auth" dict $spec -}}
{{- if ne (eq (dig "mode" "generated" $auth) "secret") (hasKey $auth "secretRef") -}}
{{- fail "spec.auth.mode secret needs auth.secretRef, and only that mode has one" -}}
{{- end -}}
{{- if hasKey (dig "resources" "limits" dict $spec) "memory" -}}
{{- fail "spec.resources.limits: the memory limit is spec.memory.limit" -}}
{{- end -}}
{{- range $name, $service := dig "services" dict $spec -}}
{{- $type := dig "type" "ClusterIP" $service -}}
{{- if and (ne $type "LoadBalancer") (hasKey $service "loadBalancerClass") -}}
{{- fail (printf "spec.services.%s.loadBalancerClass goes with type LoadBalancer, and only there" $name) -}}
{{- end -}}
{{- if and (ne $type "LoadBalancer") (dig "loadBalancerSourceRanges" list $service) -}}
{{- fail (printf "spec.services.%s.loadBalancerSourceRanges go with type LoadBalancer, and only there" $name) -}}
{{- end -}}
{{- if and (eq $type "ClusterIP") (hasKey $service "externalTrafficPolicy") -}}
{{- fail (printf "spec.services.%s.externalTrafficPolicy goes with types NodePort and LoadBalancer, and only there" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity ("1Gi", 134217728, "1e9") as a number; exact enough to be compared with a limit. */}}
{{- define "cache.amount" -}}
{{- $text := toString . -}}
{{- $suffix := regexFind "([KMGTPE]i|[numkMGTPE])$" $text -}}
{{- $factors := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 -}}
{{- $factors = merge $factors (dict "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0) -}}
{{- $factors = merge $factors (dict "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0) -}}
{{- $number := trimSuffix $suffix $text | float64 -}}
{{- if $suffix -}}{{- $number = mulf $number (get $factors $suffix) -}}{{- end -}}
{{- printf "%f" $number -}}
{{- end -}}
