# Makes the README of a package from that of a binding and docs/settings.md: a package has no repository
# around it, to which links could lead.
/^## Example$/,/^## Install$/{
  /^## Install$/!d
}
s|\[`docs/settings\.md`\]\([^)]*\)|[the last section](#settings)|
s|\[([^]]*)\]\(\.\./\.\./[^)]*\)|\1 in the repository|
s/^# Settings$/\n## Settings/
/^Made from the table in/,/^$/d
