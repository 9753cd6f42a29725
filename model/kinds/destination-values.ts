/** Values that several parts of a DestinationRule have. */
import * as z from 'zod';

export const uint32 = z.int().min(0).max(4_294_967_295);
export const percent = z.number().min(0).max(100);
export const text = z.string().min(1).max(1024);
