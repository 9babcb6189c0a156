import type { Command } from 'commander'
import { examples, jsonOption } from '../arguments.js'

export interface DoctorSettings {
  json?: boolean
}

export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .summary('say what this machine has, and what is missing')
    .description(
      'Reports versions, the platform and its addon, processor, threads, memory, GPUs, and optional packages. It fails where nothing can compute here.',
    )
    .addOption(jsonOption())
  examples(command, [
    ['doctor', 'for people'],
    ['doctor --json', 'for a bug report'],
  ])
  command.action(async (settings: DoctorSettings) => {
    const { doctor } = await import('../doctor.js')
    await doctor(settings)
  })
}
