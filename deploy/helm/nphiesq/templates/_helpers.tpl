{{/* Whatever is printed into an object goes through quote, or through one of these: YAML would take a name such as 123 or true for something else. */}}

{{/* A name of at most 39 characters, so that what follows it has room. Two long ones stay two. */}}
{{- define "nphiesq.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if not (contains $name .Release.Name) -}}
{{- $full = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- if gt (len $full) 39 -}}
{{- printf "%s-%s" ($full | trunc 30 | trimSuffix "-") ($full | sha256sum | trunc 8) -}}
{{- else -}}
{{- $full | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A value as a quoted string. Numbers come as floats; a whole one is written in full, and one that a float cannot hold is refused. */}}
{{- define "nphiesq.value" -}}
{{- if kindIs "float64" . -}}
{{- if or (ge . 9007199254740992.0) (le . -9007199254740992.0) -}}
{{- fail (printf "the number %g has too many digits: put it in quotes" .) -}}
{{- end -}}
{{- if eq (floor .) . -}}
{{- int64 . | toString | quote -}}
{{- else -}}
{{- toString . | quote -}}
{{- end -}}
{{- else -}}
{{- toString . | quote -}}
{{- end -}}
{{- end -}}

{{/* A number, for a field that is one. */}}
{{- define "nphiesq.number" -}}
{{- include "nphiesq.value" . | trimAll "\"" -}}
{{- end -}}

{{/* A map whose values must be strings: labels, annotations. */}}
{{- define "nphiesq.strings" -}}
{{- range $name, $value := . }}
{{ $name | quote }}: {{ include "nphiesq.value" $value }}
{{- end -}}
{{- end -}}

{{- define "nphiesq.tag" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if and (not .Values.image.tag) (eq $tag "latest") -}}
{{- fail "image.tag: this chart belongs to no release, so say which image to run" -}}
{{- end -}}
{{- $tag -}}
{{- end -}}

{{- define "nphiesq.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "nphiesq.labels" -}}
{{ include "nphiesq.selector" . }}
app.kubernetes.io/version: {{ include "nphiesq.tag" . | trunc 63 | replace ":" "_" | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." | quote }}
{{- end -}}

{{- define "nphiesq.image" -}}
{{- $tag := include "nphiesq.tag" . -}}
{{- printf "%s%s%s" .Values.image.repository (ternary "@" ":" (hasPrefix "sha256:" $tag)) $tag | quote -}}
{{- end -}}

{{- define "nphiesq.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "nphiesq.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "nphiesq.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "nphiesq.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* What the pods of a program have in common. Argument: root, own (the group's or monitor's values), component. */}}
{{- define "nphiesq.podMetadata" -}}
{{- $root := .root -}}
annotations:
  # A change of the settings makes new pods.
  nphiesq/settings: {{ printf "%s%s" (toJson $root.Values.config) (toJson .own.config) | sha256sum | quote }}
  {{- with $root.Values.vault.agent }}
  {{- if .role }}
  vault.hashicorp.com/agent-inject: "true"
  vault.hashicorp.com/agent-init-first: "true"
  vault.hashicorp.com/preserve-secret-case: "true"
  vault.hashicorp.com/role: {{ .role | quote }}
  {{- range $name, $s := .secrets }}
  vault.hashicorp.com/agent-inject-secret-{{ $name }}: {{ $s.path | quote }}
  vault.hashicorp.com/agent-inject-template-{{ $name }}: {{ printf "{{- with secret %q }}{{ index .Data.data %q }}{{ end -}}" $s.path $s.key | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .own.podAnnotations }}
  {{- include "nphiesq.strings" . | nindent 2 }}
  {{- end }}
labels:
  {{- include "nphiesq.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ .component | quote }}
{{- end -}}

{{- define "nphiesq.podSpec" -}}
{{- $root := .root -}}
serviceAccountName: {{ include "nphiesq.serviceAccount" $root | quote }}
# Only Vault asks for the token.
automountServiceAccountToken: {{ or (ne $root.Values.vault.role "") (ne $root.Values.vault.agent.role "") }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "nphiesq.number" .own.terminationGracePeriodSeconds }}
{{ include "nphiesq.podSecurity" . }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .own.nodeSelector }}
nodeSelector: {{- include "nphiesq.strings" . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- .selector | nindent 8 }}
{{- if $root.Values.filesSecret }}
volumes:
  - name: files
    secret: {secretName: {{ $root.Values.filesSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "nphiesq.env" -}}
{{- $root := .root -}}
{{- $addresses := dict "HTTP_ADDR" ":9090" "MONITOR_ADDR" ":8080" "ACTIONS_ADDR" ":8081" "MONITOR_HTTP_ADDR" ":9092" -}}
{{- /* Not merge: for it false, 0 and "" are nothing said. */ -}}
{{- $settings := mergeOverwrite (dict) (deepCopy $root.Values.config) (deepCopy .own.config) $addresses -}}
{{- with $root.Values.vault.role }}{{- $_ := set $settings "VAULT_K8S_ROLE" . }}{{- end -}}
{{- if $root.Values.vault.agent.role }}{{- $_ := set $settings "CREDENTIALS_DIRECTORY" "/vault/secrets" }}{{- end -}}
env:
  {{- range $name, $value := $root.Values.env }}
  - {name: {{ $name | quote }}, value: {{ include "nphiesq.value" $value }}}
  {{- end }}
  {{- range $name, $value := $settings }}
  - {name: {{ $name | quote }}, value: {{ include "nphiesq.value" $value }}}
  {{- end }}
{{- if or $root.Values.existingSecret .own.existingSecret }}
envFrom:
  {{- with $root.Values.existingSecret }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
  {{- with .own.existingSecret }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- end }}
{{- if $root.Values.filesSecret }}
volumeMounts:
  - {name: files, mountPath: /run/nphiesq/files, readOnly: true}
{{- end }}
{{- end -}}

{{/* The values of a group of workers over those of all. */}}
{{- define "nphiesq.group" -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.worker) (deepCopy .group)) -}}
{{- end -}}

{{/* A rule for ports that may be reached: none without ports, which would allow all. */}}
{{- define "nphiesq.egress" -}}
{{- if .ports -}}
- ports:
    {{- range .ports }}
    - {port: {{ include "nphiesq.number" . }}, protocol: TCP}
    {{- end }}
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
