# First light: a pool of two drives, two volumes, and what a host needs to reach them.
#
#   terraform init
#   terraform apply -var endpoint=10.0.0.5 -var 'drive_serials=["SN0001", "SN0002"]'

terraform {
  required_version = ">= 1.8"
  required_providers {
    ironbay = {
      source = "ironbay.local/ironbay/ironbay"
    }
  }
}

variable "endpoint" {
  description = "Address of the node's management API, as its console shows it."
  type        = string
}

variable "drive_serials" {
  description = "Serial numbers of the drives for the pool. All data on them is lost."
  type        = set(string)
}

variable "volume_size_bytes" {
  description = "Size of each volume by name."
  type        = map(number)
  default = {
    data = 1073741824 # 1 GiB
    log  = 268435456  # 256 MiB
  }
}

provider "ironbay" {
  endpoint = var.endpoint
}

resource "ironbay_pool" "tank" {
  name   = "tank"
  drives = var.drive_serials
}

resource "ironbay_volume" "this" {
  for_each   = var.volume_size_bytes
  name       = each.key
  pool       = ironbay_pool.tank.id
  size_bytes = each.value
}

output "subsystem_nqn" {
  description = "What hosts connect to; both volumes are namespaces of it."
  value       = ironbay_pool.tank.subsystem_nqn
}

output "volumes" {
  description = "By name: how to connect, and how to find the namespace afterwards (/dev/disk/by-id/nvme-uuid.UUID)."
  value = {
    for name, volume in ironbay_volume.this : name => {
      connect_command = volume.connect_command
      nsid            = volume.nsid
      portals         = volume.portals
      size_bytes      = volume.size_bytes
      subsystem_nqn   = volume.subsystem_nqn
      uuid            = volume.uuid
    }
  }
}
