{{- define "nphiesq.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "nphiesq.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nphiesq.labels" -}}
{{ include "nphiesq.selector" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | trunc 63 | replace ":" "_" | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "nphiesq.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .Values.image.repository }}@{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
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
  nphiesq/settings: {{ printf "%s%s" (toJson $root.Values.config) (toJson .own.config) | sha256sum }}
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
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "nphiesq.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "nphiesq.podSpec" -}}
{{- $root := .root -}}
serviceAccountName: {{ include "nphiesq.serviceAccount" $root }}
# Only Vault asks for the token.
automountServiceAccountToken: {{ or (ne $root.Values.vault.role "") (ne $root.Values.vault.agent.role "") }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .own.terminationGracePeriodSeconds }}
{{ include "nphiesq.podSecurity" . }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .own.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
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
    secret: {secretName: {{ $root.Values.filesSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "nphiesq.env" -}}
{{- $root := .root -}}
{{- $addresses := dict "HTTP_ADDR" ":9090" "MONITOR_ADDR" ":8080" "ACTIONS_ADDR" ":8081" "MONITOR_HTTP_ADDR" ":9092" -}}
{{- $settings := merge (dict) $addresses .own.config $root.Values.config -}}
{{- with $root.Values.vault.role }}{{- $_ := set $settings "VAULT_K8S_ROLE" . }}{{- end -}}
{{- if $root.Values.vault.agent.role }}{{- $_ := set $settings "CREDENTIALS_DIRECTORY" "/vault/secrets" }}{{- end -}}
env:
  {{- range $name, $value := $root.Values.env }}
  - {name: {{ $name }}, value: {{ $value | toString | quote }}}
  {{- end }}
  {{- range $name, $value := $settings }}
  {{- /* A whole number comes as a float. */}}
  {{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
  - {name: {{ $name }}, value: {{ $value | toString | quote }}}
  {{- end }}
{{- if or $root.Values.existingSecret .own.existingSecret }}
envFrom:
  {{- with $root.Values.existingSecret }}
  - secretRef: {name: {{ . }}}
  {{- end }}
  {{- with .own.existingSecret }}
  - secretRef: {name: {{ . }}}
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
