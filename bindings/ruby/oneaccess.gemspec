# frozen_string_literal: true

# `make packages` builds the gem from a copy of this folder, to which it adds the library and the licences.
Gem::Specification.new do |spec|
  spec.name = "oneaccess"
  spec.version = "0.1.0"
  spec.platform = Gem::Platform::CURRENT
  spec.summary = "Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh"
  spec.authors = ["the oneaccess authors"]
  spec.licenses = %w[MIT Apache-2.0]
  # No dependency on fiddle, which comes with Ruby: Bundler would compile the newest one instead.
  spec.required_ruby_version = ">= 3.1"
  spec.files = Dir["lib/oneaccess.rb", "lib/liboneaccess.*", "lib/oneaccess.dll", "README.md", "LICENSE-*"]
end
